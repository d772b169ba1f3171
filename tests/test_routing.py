"""Routing: who takes over, on what evidence, and what is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_dataset import record, write_labels
from typer.testing import CliRunner

from imageclef_vqa.cli import app
from imageclef_vqa.data import make_split, read_dataset
from imageclef_vqa.errors import MedvqaError, MissingStepError
from imageclef_vqa.routing import route
from imageclef_vqa.routing.evidence import BLIP2, Decision, accuracies, choose, compare, cross_fitted_accuracy
from imageclef_vqa.routing.takeover import BLEND, LINEAR, apply, blend, decide
from imageclef_vqa.task import Candidate, Prediction, read_predictions, write_predictions
from imageclef_vqa.workspace import Workspace

IMAGES, QUESTIONS = 48, 15
ALL = range(18)
RUNNER = CliRunner()


def tables(gain: float, seed: int, noise: float = 0.5) -> dict[str, np.ndarray]:
    """Right answers of two models, one better by `gain`, that share part of what makes an image hard."""
    random = np.random.default_rng(seed)
    level = np.linspace(0.5, 0.9, QUESTIONS)
    hard = random.random((IMAGES, QUESTIONS))
    own = [np.where(random.random(hard.shape) < noise, random.random(hard.shape), hard) for _ in range(2)]
    return {BLIP2: (own[0] < level).astype(float), LINEAR: (own[1] < level + gain).astype(float)}


def share_taken(gain: float, runs: int = 40) -> float:
    alone = np.arange(IMAGES)
    taken = [choose(tables(gain, seed), alone, 0)[0] for seed in range(runs)]
    return float(np.mean([[name == LINEAR for name in names] for names in taken]))


def test_an_equal_expert_is_rarely_taken() -> None:
    assert share_taken(0.0) < 0.05


def test_an_expert_better_everywhere_by_eight_points_is_mostly_taken() -> None:
    assert share_taken(0.08) > 0.75


def test_a_worse_expert_is_never_taken() -> None:
    assert share_taken(-0.05) == 0


def test_an_expert_that_is_better_at_one_question_is_taken_there_alone() -> None:
    right = tables(0.0, 3)
    right[BLIP2][:, 4], right[LINEAR][:, 4] = np.arange(IMAGES) % 2, 1.0
    assert [place for place, name in enumerate(choose(right, np.arange(IMAGES), 0)[0]) if name != BLIP2] == [4]


def test_who_did_worse_on_a_question_is_not_taken_there_however_good_elsewhere() -> None:
    right = tables(0.1, 0)
    right[LINEAR][:, 2] = right[BLIP2][:, 2]
    right[LINEAR][np.flatnonzero(right[BLIP2][:, 2])[0], 2] = 0
    names, reasons = choose(right, np.arange(IMAGES), 0)
    assert names[2] == BLIP2
    assert "worse" in reasons[2]
    assert names.count(LINEAR) > 10


def test_copies_of_images_are_no_further_evidence() -> None:
    right = tables(0.05, 1)
    copies = {name: np.repeat(table, 4, axis=0) for name, table in right.items()}
    groups = np.repeat(np.arange(IMAGES), 4)
    once = compare(right[LINEAR], right[BLIP2], np.arange(IMAGES), 0)
    grouped = compare(copies[LINEAR], copies[BLIP2], groups, 0)
    np.testing.assert_allclose(grouped.error, once.error)
    alone = compare(copies[LINEAR], copies[BLIP2], np.arange(4 * IMAGES), 0).pooled
    assert alone.high - alone.low < 0.6 * (grouped.pooled.high - grouped.pooled.low)


def test_the_better_of_two_rivals_is_taken() -> None:
    right = tables(0.2, 0)
    right[BLEND] = right[BLIP2]
    assert BLEND not in choose(right, np.arange(IMAGES), 0)[0]


def test_accuracies_come_with_intervals_around_them() -> None:
    for models in accuracies(tables(0.0, 0), np.arange(IMAGES), 0):
        for estimate in models.values():
            assert estimate.low <= estimate.value <= estimate.high
            assert estimate.high - estimate.low > 0.05


def test_the_cross_fitted_accuracy_does_not_profit_from_luck() -> None:
    """Forty equal rivals: the luckiest looks better where it was chosen, not on images that had no say."""
    random = np.random.default_rng(0)
    right = {name: (random.random((40, 3)) < 0.5).astype(float) for name in (BLIP2, *map(str, range(40)))}
    names, _ = choose(right, np.arange(40), 0)
    chosen = np.mean([right[name][:, place].mean() for place, name in enumerate(names)])
    fair = cross_fitted_accuracy(right, np.arange(40), 0)
    assert fair is not None
    assert fair < chosen
    assert cross_fitted_accuracy(right, np.zeros(40, int), 0) is None


def ranked(*options: tuple[str, float]) -> tuple[Candidate, ...]:
    return tuple(Candidate(answers=tuple(text.split("+")), probability=p) for text, p in options)


def test_a_blend_adds_the_same_set_in_whatever_order() -> None:
    mixed = blend(ranked(("Red+Pink", 0.5), ("White", 0.5)), ranked(("Pink+Red", 0.6), ("Grey", 0.4)))
    assert [(c.answers, round(c.probability, 6)) for c in mixed] == [
        (("Red", "Pink"), 0.55),
        (("White",), 0.25),
        (("Grey",), 0.2),
    ]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4), st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_blended_probabilities_are_probabilities_best_first(one: list[float], other: list[float]) -> None:
    mixed = blend(ranked(*zip("abcd", one, strict=False)), ranked(*zip("cdef", other, strict=False)))
    probabilities = [candidate.probability for candidate in mixed]
    assert probabilities == sorted(probabilities, reverse=True)
    assert len({candidate.answers for candidate in mixed}) == len(mixed)


def prediction(image_id: str, question_id: int, answer: str) -> Prediction:
    return Prediction(
        image_id=image_id,
        question_id=question_id,
        answers=(answer,),
        probability=0.6,
        candidates=ranked((answer, 0.6), ("other", 0.4)),
        model="blip2 tiny",
    )


def test_only_routed_questions_change_and_the_change_is_told() -> None:
    plain = [prediction("a", 3, "No"), prediction("a", 4, "Yes"), prediction("b", 3, "Yes")]
    expert = {("a", 3): ranked(("Yes", 0.9), ("No", 0.1)), ("b", 3): ranked(("Yes", 0.8))}
    first, second, third = apply([Decision(3, LINEAR, "better", {}), Decision(4, BLIP2, "", {})], plain, expert)
    assert (first.answers, first.replaced, first.model, first.reason) == (("Yes",), ("No",), LINEAR, "better")
    assert first.probability == 0.9
    assert second is plain[1]
    assert (third.answers, third.replaced, third.model) == (("Yes",), None, LINEAR)


def test_a_question_without_gold_answers_stays_unless_the_paper_says_so() -> None:
    plain = [prediction("a", 16, "No")]
    expert = {("a", 16): ranked(("Yes", 0.9))}
    for policy, model in (("evidence", BLIP2), ("paper", LINEAR)):
        decided = decide(plain, expert, {}, {}, [16], policy, 0)  # type: ignore[arg-type]
        assert [decision.model for decision in decided.decisions] == [model]
        assert decided.routed is None


def workspace(root: Path, count: int = 60) -> Workspace:
    """Red images are polyps, green ones are not; BLIP-2 answers the bank's first answer everywhere."""
    from PIL import Image

    place = Workspace.at(root)
    random = np.random.default_rng(0)
    for folder, size in ((place.development, count), (place.test, 4)):
        (folder / "images").mkdir(parents=True)
        records = []
        for number in range(size):
            pixels = random.integers(0, 100, (12, 12, 3), dtype=np.uint8)
            pixels[:, :, number % 2] += 150
            name = f"{folder.name}{number}"
            Image.fromarray(pixels).resize((96, 80)).save(folder / "images" / f"{name}.jpg", quality=95)
            sizes = ["< 5mm"] if number % 2 else [">20mm"]
            records.append(record(name, q16=sizes, q12=["Polyp"] if number % 2 else ["No"], q6=[""]))
        write_labels(folder, records)
    dataset = read_dataset(place.development)
    split = make_split(dataset, val=0.4)
    split.write(place.split_file)
    images = {"val": split.val(), "test": [e.image_id for e in read_dataset(place.test, labelled=False).examples]}
    for fold, ids in images.items():
        answers = {q: record("x")["Labels"][q]["Answer"][0] for q in ALL}
        write_predictions(place.predictions(fold), [prediction(i, q, answers[q]) for i in ids for q in ALL])
    return place


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return workspace(tmp_path)


def test_the_expert_takes_over_where_it_is_better_in_both_folds_and_nowhere_else(place: Workspace) -> None:
    done = route(place, questions=ALL)
    models = {decision.question_id: decision.model for decision in done.decisions}
    assert 6 not in models  # training never answers it
    assert {q for q, model in models.items() if model != BLIP2} == {12, 16}
    assert done.blip2 is not None
    assert done.cross_fitted is not None
    assert done.cross_fitted > done.blip2
    for fold in ("val", "test"):
        plain, routed = read_predictions(place.predictions(fold)), read_predictions(place.routed(fold))
        assert [(p.image_id, p.question_id) for p in plain] == [(p.image_id, p.question_id) for p in routed]
        for before, after in zip(plain, routed, strict=True):
            if before.question_id not in (12, 16):
                assert after == before
            elif before.question_id == 16:
                odd = int(before.image_id.removeprefix("development").removeprefix("test")) % 2
                assert after.answers == (("< 5mm",) if odd else (">20mm",))
                assert after.replaced == before.answers


def test_a_second_run_uses_the_saved_expert_and_writes_the_same_bytes(place: Workspace) -> None:
    first = route(place, questions=ALL)
    before = {fold: path.read_bytes() for fold, path in first.files.items()}
    second = route(place, questions=ALL)
    assert (first.reused, second.reused) == (False, True)
    assert {fold: path.read_bytes() for fold, path in second.files.items()} == before


def test_the_paper_policy_always_takes_the_expert_for_sizes_and_types(place: Workspace) -> None:
    result = RUNNER.invoke(app, ["route", "--policy", "paper", "--workspace", str(place.root), "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [(d["question_id"], d["model"]) for d in told["decisions"]] == [(16, LINEAR), (17, LINEAR)]
    assert told["replaced"]["test"] > 0


def test_the_table_says_that_validation_also_decided(place: Workspace) -> None:
    result = RUNNER.invoke(app, ["route", "--questions", "16,3", "--workspace", str(place.root)])
    assert result.exit_code == 0, result.output
    assert "these images also decided" in result.stdout
    assert "work/main/routed/test.jsonl" in result.stdout


def test_missing_predictions_name_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(MissingStepError, match="`medvqa predict` makes one"):
        route(Workspace.at(tmp_path), questions=ALL)


def test_predictions_of_another_split_are_refused(place: Workspace) -> None:
    plain = read_predictions(place.predictions("val"))
    write_predictions(place.predictions("val"), plain[18:])
    with pytest.raises(MedvqaError, match="not for the validation images"):
        route(place, questions=ALL)


def test_an_unknown_question_is_a_usage_error(place: Workspace) -> None:
    result = RUNNER.invoke(app, ["route", "--questions", "16,18", "--workspace", str(place.root)])
    assert result.exit_code == 2
    assert "'18' is no question" in result.stderr
