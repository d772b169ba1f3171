"""Routing: which model answers a question, on what evidence, and what is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_dataset import record, write_labels
from small_predictions import write_recorded
from typer.testing import CliRunner, Result

from imageclef_vqa.artefacts import ChangedError, record_path
from imageclef_vqa.cli import app
from imageclef_vqa.data import make_split, read_dataset, read_pictures
from imageclef_vqa.editions import Candidate, Prediction, read_predictions
from imageclef_vqa.errors import MedvqaError, MissingStepError, UsageError
from imageclef_vqa.experts.answers import CLASSICAL
from imageclef_vqa.experts.classical import answer_images
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.pipeline.route import default_experts, route_answers
from imageclef_vqa.pipeline.router import load_router
from imageclef_vqa.routing import Routed
from imageclef_vqa.routing.apply import apply
from imageclef_vqa.routing.decisions import BLEND, Decisions, HeldOut, decide
from imageclef_vqa.routing.evidence import BLIP2, Choice, Decision, accuracies, gains_of
from imageclef_vqa.routing.evidence import choose as choose_all
from imageclef_vqa.routing.stacking import best_shares, error_products, mix, mixture_is_right, probability_table
from imageclef_vqa.workspace import Workspace

IMAGES, QUESTIONS = 48, 15
ALL = range(18)
RUNNER = CliRunner()


def choose(right: dict[str, np.ndarray], clusters: np.ndarray, seed: int) -> tuple[list[str], list[str]]:
    choices: list[Choice] = choose_all(right, clusters, seed)
    return [choice.model for choice in choices], [choice.reason for choice in choices]


def route(workspace: Workspace, **options: object) -> Routed:
    answer_images(workspace)
    return route_answers(workspace, **options)  # type: ignore[arg-type]


def tables(gain: float, seed: int, noise: float = 0.5) -> dict[str, np.ndarray]:
    """Right answers of two models, one better by `gain`, that share part of what makes an image hard."""
    random = np.random.default_rng(seed)
    level = np.linspace(0.5, 0.9, QUESTIONS)
    hard = random.random((IMAGES, QUESTIONS))
    own = [np.where(random.random(hard.shape) < noise, random.random(hard.shape), hard) for _ in range(2)]
    return {BLIP2: (own[0] < level).astype(float), CLASSICAL: (own[1] < level + gain).astype(float)}


def share_taken(gain: float, runs: int = 40) -> float:
    ungrouped = np.arange(IMAGES)
    taken = [choose(tables(gain, seed), ungrouped, 0)[0] for seed in range(runs)]
    return float(np.mean([[name == CLASSICAL for name in names] for names in taken]))


def test_an_equal_expert_is_rarely_taken() -> None:
    assert share_taken(0.0) < 0.05


def test_an_expert_better_everywhere_by_eight_points_is_mostly_taken() -> None:
    assert share_taken(0.08) > 0.75


def test_a_worse_expert_is_never_taken() -> None:
    assert share_taken(-0.05) == 0


def test_an_expert_that_is_better_at_one_question_is_taken_only_there() -> None:
    right = tables(0.0, 3)
    right[BLIP2][:, 4], right[CLASSICAL][:, 4] = np.arange(IMAGES) % 2, 1.0
    assert [index for index, name in enumerate(choose(right, np.arange(IMAGES), 0)[0]) if name != BLIP2] == [4]


def test_a_rival_that_is_worse_on_a_question_does_not_get_it_even_if_better_elsewhere() -> None:
    right = tables(0.1, 0)
    right[CLASSICAL][:, 2] = right[BLIP2][:, 2]
    right[CLASSICAL][np.flatnonzero(right[BLIP2][:, 2])[0], 2] = 0
    names, reasons = choose(right, np.arange(IMAGES), 0)
    assert names[2] == BLIP2
    assert "worse" in reasons[2]
    assert names.count(CLASSICAL) > 10


def test_copies_of_images_are_no_further_evidence() -> None:
    right = tables(0.05, 1)
    copies = {name: np.repeat(table, 4, axis=0) for name, table in right.items()}
    groups = np.repeat(np.arange(IMAGES), 4)
    once = gains_of(right[CLASSICAL], right[BLIP2], np.arange(IMAGES), 0)
    grouped = gains_of(copies[CLASSICAL], copies[BLIP2], groups, 0)
    np.testing.assert_allclose(grouped.error, once.error)
    ungrouped = gains_of(copies[CLASSICAL], copies[BLIP2], np.arange(4 * IMAGES), 0).pooled
    assert ungrouped.high - ungrouped.low < 0.6 * (grouped.pooled.high - grouped.pooled.low)


def test_the_better_of_two_rivals_is_taken() -> None:
    right = tables(0.2, 0)
    right[BLEND] = right[BLIP2]
    assert BLEND not in choose(right, np.arange(IMAGES), 0)[0]


def test_accuracies_come_with_intervals_around_them() -> None:
    for models in accuracies(tables(0.0, 0), np.arange(IMAGES), 0):
        for estimate in models.values():
            assert estimate.low <= estimate.value <= estimate.high
            assert estimate.high - estimate.low > 0.05


def ranked(*options: tuple[str, float]) -> tuple[Candidate, ...]:
    return tuple(Candidate(answers=tuple(text.split("+")), probability=p) for text, p in options)


HALVES = {BLIP2: 0.5, CLASSICAL: 0.5}


def test_a_blend_adds_the_same_set_in_whatever_order() -> None:
    one, other = ranked(("Red+Pink", 0.5), ("White", 0.5)), ranked(("Pink+Red", 0.6), ("Grey", 0.4))
    mixed = mix({BLIP2: one, CLASSICAL: other}, HALVES)
    assert [(c.answers, round(c.probability, 6)) for c in mixed] == [
        (("Red", "Pink"), 0.55),
        (("White",), 0.25),
        (("Grey",), 0.2),
    ]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4), st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_blended_probabilities_are_probabilities_best_first(one: list[float], other: list[float]) -> None:
    rankings = {BLIP2: ranked(*zip("abcd", one, strict=False)), CLASSICAL: ranked(*zip("cdef", other, strict=False))}
    mixed = mix(rankings, HALVES)
    probabilities = [candidate.probability for candidate in mixed]
    assert probabilities == sorted(probabilities, reverse=True)
    assert len({candidate.answers for candidate in mixed}) == len(mixed)


def guesses(count: int, skill: float, seed: int) -> list[tuple[Candidate, ...]]:
    """Rankings whose first answer is the right one, `yes`, in a share `skill` of the cases."""
    sure = np.random.default_rng(seed).random(count) < skill
    return [ranked(("yes" if yes else "no", 0.8), ("no" if yes else "yes", 0.2)) for yes in sure]


def shares_of(*skills: float) -> list[float]:
    models = [guesses(400, skill, seed) for seed, skill in enumerate(skills)]
    table = probability_table(list(zip(*models, strict=True)), [("yes",)] * 400)
    return best_shares(error_products(table)).tolist()


def test_the_better_model_has_the_larger_share_and_equal_models_have_equal_shares() -> None:
    good, bad = shares_of(0.9, 0.7)
    assert good > 2 * bad
    assert shares_of(0.8, 0.8) == pytest.approx([0.5, 0.5], abs=0.2)
    assert shares_of(0.9, 0.2)[1] == 0
    assert sum(shares_of(0.9, 0.6, 0.7)) == pytest.approx(1)


def test_the_gold_answer_is_right_only_where_it_is_likeliest() -> None:
    rankings = [[ranked(("Red+Pink", 0.6), ("No", 0.4))], [ranked(("No", 1.0))], [ranked(("No", 0.5), ("Yes", 0.5))]]
    table = probability_table(rankings, [("Pink", "Red"), ("Yes",), ("Yes",)])
    assert mixture_is_right(table, np.ones(1)).tolist() == [True, False, False]


def prediction(image_id: str, question_id: int, answer: str) -> Prediction:
    return Prediction(
        image_id=image_id,
        question_id=question_id,
        answers=(answer,),
        probability=0.6,
        candidates=ranked((answer, 0.6), ("other", 0.4)),
        model="blip2 tiny",
    )


def test_only_routed_questions_change_and_the_change_is_recorded() -> None:
    plain = [prediction("a", 3, "No"), prediction("a", 4, "Yes"), prediction("b", 3, "Yes")]
    expert = {CLASSICAL: {("a", 3): ranked(("Yes", 0.9), ("No", 0.1)), ("b", 3): ranked(("Yes", 0.8))}}
    first, second, third = apply([Decision(3, CLASSICAL, "better", {}), Decision(4, BLIP2, "", {})], plain, expert)
    assert (first.answers, first.replaced, first.model, first.reason) == (("Yes",), ("No",), CLASSICAL, "better")
    assert first.probability == 0.9
    assert second is plain[1]
    assert (third.answers, third.replaced, third.model) == (("Yes",), None, CLASSICAL)


def test_a_question_without_gold_answers_stays_unless_the_paper_says_so() -> None:
    plain = [prediction("a", 16, "No")]
    held_out = [HeldOut(plain, {CLASSICAL: {("a", 16): ranked(("Yes", 0.9))}}, {})]
    for policy, model in (("evidence", BLIP2), ("paper", CLASSICAL)):
        decided = decide(held_out, {}, [16], policy, 0, [CLASSICAL])  # type: ignore[arg-type]
        assert [decision.model for decision in decided.decisions] == [model]
        assert decided.routed is None


def make_workspace(root: Path, count: int = 60) -> Workspace:
    """Red images are polyps, green ones are not; BLIP-2 answers the bank's first answer everywhere."""
    from PIL import Image

    workspace = Workspace.at(root)
    random = np.random.default_rng(0)
    for folder, size in ((workspace.development, count), (workspace.test, 4)):
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
    dataset = read_dataset(workspace.development)
    split = make_split(dataset, val=0.4)
    split.write(workspace.split_file)
    images = {"val": split.val(), "test": [e.image_id for e in read_dataset(workspace.test, labelled=False).examples]}
    for fold, ids in images.items():
        answers = {q: record("x")["Labels"][q]["Answer"][0] for q in ALL}
        write_recorded(workspace.predictions(fold), [prediction(i, q, answers[q]) for i in ids for q in ALL])
    return workspace


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose images the classical expert has answered."""
    root = tmp_path_factory.mktemp("made")
    answer_images(make_workspace(root))
    return root


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Workspace:
    """A copy of it, to spoil."""
    return Workspace.at(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


@pytest.fixture
def unanswered(workspace: Workspace) -> Workspace:
    """A copy that no expert has answered."""
    shutil.rmtree(workspace.run_folder / "experts")
    return workspace


def test_the_expert_takes_over_where_it_is_better_in_both_folds_and_nowhere_else(workspace: Workspace) -> None:
    done = route(workspace, questions=ALL)
    models = {decision.question_id: decision.model for decision in done.decisions}
    assert 6 not in models  # training never answers it
    assert {models[12], models[16]} <= {CLASSICAL, BLEND}
    assert done.blip2 is not None
    assert done.cross_fitted is not None
    assert done.cross_fitted > done.blip2
    for fold in ("val", "test"):
        plain, routed = read_predictions(workspace.predictions(fold)), read_predictions(workspace.routed(fold))
        assert [(p.image_id, p.question_id) for p in plain] == [(p.image_id, p.question_id) for p in routed]
        for before, after in zip(plain, routed, strict=True):
            if before.question_id not in (12, 16):
                assert after.answers == before.answers
            elif before.question_id == 16:
                odd = int(before.image_id.removeprefix("development").removeprefix("test")) % 2
                assert after.answers == (("< 5mm",) if odd else (">20mm",))
                assert after.replaced == before.answers


def test_a_second_run_keeps_the_experts_answers_and_writes_the_same_bytes(unanswered: Workspace) -> None:
    workspace = unanswered
    assert not answer_images(workspace)
    first = route(workspace, questions=ALL)
    before = {fold: path.read_bytes() for fold, path in first.files.items()}
    assert answer_images(workspace)
    second = route(workspace, questions=ALL)
    assert {fold: path.read_bytes() for fold, path in second.files.items()} == before


def test_the_paper_policy_always_takes_the_expert_for_sizes_and_types(workspace: Workspace) -> None:
    result = RUNNER.invoke(
        app, ["route", "--policy", "paper", "--expert", CLASSICAL, "--workspace", str(workspace.root), "--json"]
    )
    assert result.exit_code == 0, result.output
    output = json.loads(result.stdout)
    assert [(d["question_id"], d["model"]) for d in output["decisions"]] == [(16, CLASSICAL), (17, CLASSICAL)]
    assert output["replaced"]["test"] > 0


def test_the_table_says_that_validation_also_decided(workspace: Workspace) -> None:
    result = RUNNER.invoke(app, ["route", "--questions", "16,3", "--workspace", str(workspace.root)])
    assert result.exit_code == 0, result.output
    assert "these images also decided" in result.stdout
    assert "work/main/routed/test.jsonl" in result.stdout


def test_missing_predictions_name_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(MissingStepError, match=r"`medvqa predict --workspace .*` makes one"):
        route(Workspace.at(tmp_path), questions=ALL)


def test_predictions_of_another_split_are_refused(workspace: Workspace) -> None:
    plain = read_predictions(workspace.predictions("val"))
    write_recorded(workspace.predictions("val"), plain[18:])
    with pytest.raises(MedvqaError, match="does not answer the validation images"):
        route(workspace, questions=ALL)


def test_an_unknown_question_is_a_usage_error(workspace: Workspace) -> None:
    result = RUNNER.invoke(app, ["route", "--questions", "16,18", "--workspace", str(workspace.root)])
    assert result.exit_code == 2
    assert "'18' is no question" in result.stderr


@pytest.mark.parametrize("listed", ["", "16,,17", "all,3", "-1", "x", "03"])
def test_a_list_with_nonsense_is_a_usage_error(workspace: Workspace, listed: str) -> None:
    result = RUNNER.invoke(app, ["route", "--questions", listed, "--workspace", str(workspace.root)])
    assert result.exit_code == 2
    assert "ids from 0 to 17, or all" in result.stderr


def test_answers_that_occur_once_are_reported_and_fitted_without_a_warning(workspace: Workspace) -> None:
    labels = json.loads((workspace.development / "gt.json").read_text())
    write_labels(workspace.development, [record(e["ImageID"], q7=[str(n)]) for n, e in enumerate(labels)])
    make_split(read_dataset(workspace.development), val=0.4).write(workspace.split_file)
    workspace.predictions("val").unlink()
    output: list[str] = []
    answer_images(workspace, fold=0, notify=output.append)
    (line,) = output
    assert "answers occur at most 3 times, and have the same weight as the others" in line


def write_memorable(root: Path) -> None:
    """A demo set whose examinations stand there several times over and whose answers are drawn by lot, so that an
    expert can do nothing but remember."""
    from imageclef_vqa.synthetic import write_synthetic_dataset

    workspace = Workspace.at(root)
    write_synthetic_dataset(workspace.root / "data", images=40, test=0, seed=3)
    random = np.random.default_rng(0)
    shutil.rmtree(workspace.test)
    labels = json.loads((workspace.development / "gt.json").read_text())
    records, seen = [], set()
    for entry in labels:
        image = workspace.development / "images" / f"{entry['ImageID']}.jpg"
        if image.read_bytes() in seen:
            image.unlink()
            continue
        seen.add(image.read_bytes())
        kind = ["Paris ip"] if random.random() < 0.4 else ["Paris is"]
        for copy in range(4):
            name = f"{entry['ImageID'][:20]}{copy}{len(records):04}"
            shutil.copyfile(image, image.with_name(f"{name}.jpg"))
            records.append(record(name, q17=kind))
        image.unlink()
    write_labels(workspace.development, records)


def routed_by(by: str, root: Path) -> Routed:
    """Route one split of it, where BLIP-2 gives the commonest answer."""
    workspace = Workspace.at(root, by)
    split = make_split(read_dataset(workspace.development), val=0.3, by=by)  # type: ignore[arg-type]
    split.write(workspace.split_file)
    write_recorded(workspace.predictions("val"), [prediction(image, 17, "Paris is") for image in split.val()])
    return route(workspace, questions=[17])


def test_an_expert_that_memorised_is_accepted_by_image_and_refused_by_group(tmp_path: Path) -> None:
    write_memorable(tmp_path)
    (leaky,), (fair,) = (routed_by(by, tmp_path).decisions for by in ("image", "group"))
    assert leaky.model != BLIP2
    assert leaky.accuracies[CLASSICAL].value > 0.85  # chance puts a few examinations on one side
    assert fair.model == BLIP2
    assert fair.accuracies[CLASSICAL].value < 0.75


def test_a_slightly_better_blend_replaces_blip2_everywhere_and_a_worse_one_nowhere() -> None:
    """Two models of equal accuracy with different errors: accuracy shows no difference, the quadratic score does."""
    images, asked = 48, list(range(15))
    for other_skill, taken in ((0.8, True), (0.3, False)):
        first = guesses(images * 15, 0.8, 1)
        second = guesses(images * 15, other_skill, 2)
        pairs = [(f"i{n // 15}", n % 15) for n in range(images * 15)]
        plain = [
            Prediction(image_id=i, question_id=q, answers=c[0].answers, probability=0.8, candidates=c, model="blip2")
            for (i, q), c in zip(pairs, first, strict=True)
        ]
        gold = dict.fromkeys(pairs, ("yes",))
        held_out = [HeldOut(plain, {CLASSICAL: dict(zip(pairs, second, strict=True))}, gold)]
        decided = decide(held_out, {}, asked, "evidence", 0, [CLASSICAL])
        models = [decision.model for decision in decided.decisions]
        assert models.count(BLEND) == (15 if taken else 0)
        assert not taken or decided.decisions[0].shares is not None


def test_evidence_from_other_folds_is_out_of_fold_and_adds_up(unanswered: Workspace) -> None:
    workspace = unanswered
    tmp_path = workspace.root
    dataset = read_dataset(workspace.development)
    split = make_split(dataset, folds=3)
    split.write(workspace.split_file)
    for fold in range(3):
        run = Workspace.at(tmp_path, ("main", "second", "third")[fold])
        answers = {q: record("x")["Labels"][q]["Answer"][0] for q in ALL}
        plain = [prediction(i, q, answers[q]) for i in split.val(fold) for q in ALL]
        write_recorded(run.predictions("val"), plain)
    workspace.predictions("test").unlink()
    result = RUNNER.invoke(app, ["route", "--folds", "--json", "--workspace", str(tmp_path)])
    assert result.exit_code == 0, result.output
    output = json.loads(result.stdout)
    assert output["images"] == len(dataset)
    assert {12, 16} <= {d["question_id"] for d in output["decisions"] if d["model"] != BLIP2}
    assert not (tmp_path / "work" / "second" / "routed").exists()


def test_folds_without_other_runs_is_a_usage_error(workspace: Workspace) -> None:
    result = RUNNER.invoke(app, ["route", "--folds", "--workspace", str(workspace.root)])
    assert result.exit_code == 2
    assert "finetune --stage 1 --fold 1" in result.stderr


def test_train_only_does_not_route_and_apply_only_does_not_train(unanswered: Workspace) -> None:
    workspace = unanswered
    options = ["--workspace", str(workspace.root)]
    refused = RUNNER.invoke(app, ["route", "--apply-only", *options])
    assert refused.exit_code == 1
    assert "route --train-only" in refused.stderr
    assert RUNNER.invoke(app, ["route", "--train-only", *options]).exit_code == 0
    assert not workspace.routed("val").exists()
    assert RUNNER.invoke(app, ["route", "--apply-only", *options]).exit_code == 0
    assert workspace.routed("val").exists()


def test_the_baseline_is_a_run_with_all_questions_and_needs_no_predictions(unanswered: Workspace) -> None:
    workspace = unanswered
    result = RUNNER.invoke(app, ["baseline", "--json", "--workspace", str(workspace.root)])
    assert result.exit_code == 0, result.output
    overall = json.loads(result.stdout)["folds"]["val"]["global"]
    assert overall["exact_set"] > overall["majority"]
    own = read_predictions(workspace.work / "baseline" / "predictions" / "test.jsonl")
    assert len(own) == 4 * 18
    assert {each.question_id for each in own if not each.trained} == {6}
    assert workspace.floor("test") == workspace.work / "baseline" / "predictions" / "test.jsonl"


def flip_a_bit(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def invoke(workspace: Workspace, *arguments: str) -> Result:
    return RUNNER.invoke(app, ["route", *arguments, "--run", workspace.run, "--workspace", str(workspace.root)])


@pytest.fixture
def routed_by_the_expert(workspace: Workspace) -> Workspace:
    """Test images whose answers to two questions are the classical expert's; nothing is compared."""
    route_answers(workspace, policy="paper", questions=[12, 16])
    return workspace


def test_routed_answers_record_what_they_were_made_from_and_are_stale_after_new_predictions(
    routed_by_the_expert: Workspace,
) -> None:
    workspace = routed_by_the_expert
    for fold in ("val", "test"):
        found = Lineage(workspace).artefact(f"routed/{fold}")
        assert found.status == "fresh", found.reasons
        assert found.record is not None
        assert {f"predictions/{fold}", "predictions/val", f"experts/classical/{fold}"} <= found.record.inputs.keys()
        assert {"development", "split", "routed/decisions"} <= found.record.inputs.keys()
        assert found.record.options["models"] == {"12": CLASSICAL, "16": CLASSICAL}
    write_recorded(workspace.predictions("test"), [prediction("test0", 16, "new")])
    lineage = Lineage(workspace)
    assert lineage.artefact("routed/test").reasons == ("predictions/test was made again",)
    assert lineage.artefact("routed/val").status == "fresh"


def test_predictions_that_were_changed_or_have_no_record_are_refused_by_name(workspace: Workspace) -> None:
    flip_a_bit(workspace.predictions("test"))
    changed = invoke(workspace)
    assert changed.exit_code == 1
    assert "work/main/predictions/test.jsonl is not the file that was finished" in changed.stderr
    record_path(workspace.predictions("val")).unlink()
    unrecorded = invoke(workspace)
    assert unrecorded.exit_code == 1
    assert "work/main/predictions/val.jsonl was made by a version that kept no records" in unrecorded.stderr
    assert f"`medvqa predict --workspace {workspace.root}` makes it again" in unrecorded.stderr
    assert not workspace.routed("val").exists()


def test_answers_of_an_expert_that_were_changed_are_made_again_and_named(workspace: Workspace) -> None:
    answer_images(workspace)
    path = workspace.expert(CLASSICAL) / "val.jsonl"
    written = path.read_bytes()
    flip_a_bit(path)
    with pytest.raises(ChangedError, match=r"experts/classical/val\.jsonl is not the file that was finished"):
        route_answers(workspace, questions=[16])
    told: list[str] = []
    assert not answer_images(workspace, notify=told.append)
    assert "its content has changed; the classical expert answers again" in told[0]
    assert path.read_bytes() == written


def test_a_resnet34_of_an_earlier_trial_takes_part_only_when_asked(workspace: Workspace) -> None:
    write_recorded(workspace.expert("resnet34") / "val.jsonl", [prediction("development0", 16, "No")])
    done = invoke(workspace, "--policy", "evidence", "--questions", "16", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["experts"] == [CLASSICAL]
    assert default_experts("paper", None) == ["resnet34"]
    assert default_experts("evidence", Path("resnet34.pth")) == [CLASSICAL, "resnet34"]


def test_the_next_command_keeps_run_and_workspace(workspace: Workspace) -> None:
    other = Workspace.at(workspace.root, "other")
    shutil.copytree(workspace.run_folder, other.run_folder)
    trained, done = invoke(other, "--train-only"), invoke(other, "--questions", "16")
    assert f"next: `medvqa route --run other --workspace {workspace.root}`" in trained.stdout
    assert f"next: `medvqa score --run other --workspace {workspace.root}`" in done.stdout


def test_stored_decisions_route_new_images_as_the_test_images_were_routed(workspace: Workspace) -> None:
    shares = {BLIP2: 0.25, CLASSICAL: 0.75}
    answer_images(workspace)
    decided = Decisions((Decision(12, CLASSICAL, "", {}), Decision(16, BLEND, "", {}, BLEND, shares)), None, None, None)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("imageclef_vqa.routing.decide", lambda *given: decided)
        route_answers(workspace, questions=[12, 16])
    pictures = read_pictures(workspace.test / "images", workspace.test / "none")
    plain, expected = (read_predictions(path("test")) for path in (workspace.predictions, workspace.routed))
    router = load_router(workspace)
    assert router is not None
    routed = router.route(plain, pictures.readable, workspace.cache)
    assert [(each.answers, each.model) for each in routed] == [(each.answers, each.model) for each in expected]
    for one, other in zip(routed, expected, strict=True):
        assert one.probability == pytest.approx(other.probability, abs=1e-9)
    assert load_router(workspace, "plain") is None


def test_decisions_from_other_predictions_than_there_are_now_are_refused_with_both_ways_out(
    routed_by_the_expert: Workspace,
) -> None:
    workspace = routed_by_the_expert
    plain = read_predictions(workspace.predictions("val"))
    write_recorded(workspace.predictions("val"), [*plain[1:], plain[0]])
    with pytest.raises(ChangedError) as refused:
        load_router(workspace)
    assert "work/main/routed/decisions.json is stale: predictions/val was made again" in str(refused.value)
    assert f"`medvqa route --workspace {workspace.root}` decides again; --answers plain asks BLIP-2 only" in str(
        refused.value
    )
    assert load_router(workspace, "plain") is None


def test_answers_of_a_run_that_was_not_routed_are_plain_and_routed_ones_are_a_usage_error(workspace: Workspace) -> None:
    assert load_router(workspace) is None
    with pytest.raises(UsageError, match="--answers routed: run main was not routed"):
        load_router(workspace, "routed")
