"""The classical expert: its descriptors, its models, and when its answers are made again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from small_dataset import record, write_dataset, write_labels

from imageclef_vqa.data import load_pixels, make_split, read_dataset
from imageclef_vqa.editions import same_answer
from imageclef_vqa.errors import MissingStepError
from imageclef_vqa.experts import classical
from imageclef_vqa.experts.classical import ClassicalExpert, answer_images, fit
from imageclef_vqa.experts.descriptors import BLOCKS, FEATURES, SIZE, describe
from imageclef_vqa.workspace import Workspace

SAMPLE = Path(os.environ.get("MEDVQA_SAMPLE", Path(__file__).parents[2] / "shared" / "data" / "medvqa-gi-2023-sample"))
PLAIN = slice(0, sum(BLOCKS))  # the features without the means over turns
COLOURS, EDGES, THUMBNAIL = (slice(start, start + size) for start, size in zip((0, 384, 896), BLOCKS, strict=True))


def pictures(count: int = 24) -> tuple[np.ndarray, list[dict[int, tuple[str, ...]]]]:
    """Noise with a red or a green left half; question 5 names the colours, 0 never varies, 3 follows them too."""
    random = np.random.default_rng(0)
    pixels = random.integers(80, 120, (count, SIZE, SIZE, 3), dtype=np.uint8)
    answers = []
    for number in range(count):
        pixels[number, :, : SIZE // 2, number % 2] = 230
        colours = ("Red", "Pink") if number % 2 == 0 else ("Green",)
        answers.append({0: ("Colonoscopy",), 3: (("No", "Yes")[number % 2],), 5: colours})
    answers[4][5] = ("White", "Pink")
    return pixels, answers


@pytest.fixture(scope="module")
def fitted() -> tuple[ClassicalExpert, np.ndarray, list[dict[int, tuple[str, ...]]]]:
    pixels, answers = pictures()
    features = describe(pixels)
    return fit(features, answers), features, answers


def test_features_do_not_depend_on_the_images_beside_them() -> None:
    pixels, _ = pictures(70)
    features = describe(pixels)
    assert features.shape == (70, FEATURES)
    np.testing.assert_array_equal(features[69:], describe(pixels[69:]))


def test_features_of_plain_colour_are_those_computed_by_hand() -> None:
    features = describe(np.full((1, SIZE, SIZE, 3), (255, 0, 0), np.uint8))[0]
    hue, saturation, value = features[COLOURS].reshape(3, 16, 8)
    assert (hue[:, 0] == 1).all()
    assert (saturation[:, 7] == 1).all()
    assert (value[:, 7] == 1).all()
    assert (features[EDGES] == 0).all()
    assert features[THUMBNAIL].reshape(-1, 3).tolist() == [[1, 0, 0]] * 256


def test_a_vertical_edge_is_counted_in_its_cells_and_direction_only() -> None:
    pixels = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    pixels[:, :, SIZE // 2 + 4 :] = 255
    edges = describe(pixels)[0, EDGES].reshape(8, 8, 8)  # row, column, direction
    assert (edges[:, 4, 0] > 0).all()
    edges[:, 4, 0] = 0
    assert not edges.any()


def turned(pixels: np.ndarray) -> list[np.ndarray]:
    """An image in the eight ways to turn and mirror it."""
    return [np.rot90(image, quarter) for image in (pixels, pixels[:, ::-1]) for quarter in range(4)]


def test_the_second_part_of_the_features_is_the_mean_over_the_turned_images() -> None:
    smooth = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).repeat(8, axis=0).repeat(8, axis=1)
    noise = np.random.default_rng(1).integers(-9, 9, smooth.shape)
    image = np.clip(smooth + noise, 0, 255).astype(np.uint8)
    features = describe(np.stack(turned(image)))
    means = features[:, PLAIN].mean(axis=0)
    for row in features[:, sum(BLOCKS) :]:
        np.testing.assert_allclose(row[COLOURS], means[COLOURS], atol=1e-6)
        np.testing.assert_allclose(row[THUMBNAIL], means[THUMBNAIL], atol=1e-6)
        # A direction on the border of two bins falls into the other one when it is mirrored.
        assert np.abs(row[EDGES] - means[EDGES]).max() < 0.2 * means[EDGES].max()
    assert np.abs(np.diff(features[:, PLAIN], axis=0)).max() > 0.5


def test_whole_sets_are_learnt_and_ranked(fitted: tuple) -> None:
    expert, features, answers = fitted
    ranked = expert.answer(features)
    right = [same_answer(c[0].answers, a[5]) for c, a in zip(ranked[5], answers, strict=True)]
    assert sum(right) >= 23  # all but the odd answer
    assert all(c[0].answers == a[3] for c, a in zip(ranked[3], answers, strict=True))
    for candidates in ranked[5]:
        probabilities = [candidate.probability for candidate in candidates]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1)


def test_a_question_with_one_answer_gets_it_with_certainty(fitted: tuple) -> None:
    expert, features, _ = fitted
    assert {(c[0].answers, c[0].probability) for c in expert.answer(features)[0]} == {(("Colonoscopy",), 1.0)}


def test_a_question_that_training_never_answers_is_not_answered(fitted: tuple) -> None:
    assert set(fitted[0].answer(fitted[1])) == {0, 3, 5}


def test_fitting_again_gives_the_same_answers(fitted: tuple) -> None:
    expert, features, answers = fitted
    assert fit(features, answers).answer(features) == expert.answer(features)


def test_a_single_question_can_be_learnt() -> None:
    pixels, answers = pictures()
    features = describe(pixels)
    (ranked,) = fit(features, [{3: image[3]} for image in answers]).answer(features).values()
    assert all(c[0].answers == a[3] for c, a in zip(ranked, answers, strict=True))


def test_an_image_without_an_answer_has_no_vote(fitted: tuple) -> None:
    _, features, answers = fitted
    partly = [image if row < 12 else {3: image[3]} for row, image in enumerate(answers)]
    expert = fit(features, partly)
    first = fit(features[:12], partly[:12])
    for one, other in zip(expert.answer(features)[5], first.answer(features)[5], strict=True):
        assert one[0].answers == other[0].answers
        assert sum(candidate.probability for candidate in one) == pytest.approx(1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace.at(tmp_path)
    write_dataset(workspace.development, 12)
    make_split(read_dataset(workspace.development), val=0.25).write(workspace.split_file)
    return workspace


def test_answers_are_made_again_only_for_other_data(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = workspace.expert("classical") / "val.jsonl"
    assert not answer_images(workspace, fold=0)
    written = answers.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(classical, "fit", None)
        assert answer_images(workspace, fold=0)
    answers.unlink()
    assert not answer_images(workspace, fold=0)
    assert answers.read_bytes() == written
    write_labels(workspace.development, [record(f"image{n}", q7=[str(n % 2)]) for n in range(12)])
    make_split(read_dataset(workspace.development), val=0.25).write(workspace.split_file)
    with pytest.raises(MissingStepError, match="route --train-only"):
        answer_images(workspace, fold=0, train=False)
    assert not answer_images(workspace, fold=0)
    assert answers.read_bytes() != written


@pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"the real sample is not at {SAMPLE}")
def test_on_real_images_the_expert_is_far_above_the_majority_answer(tmp_path: Path) -> None:
    dataset = read_dataset(SAMPLE / "development", cache=tmp_path)
    features = describe(load_pixels(dataset, SIZE, None))
    training = set(make_split(dataset, folds=4, cache=tmp_path).train())
    inside = np.array([example.image_id in training for example in dataset.examples])
    expert = fit(features[inside], [example.answers for example in dataset.examples if example.image_id in training])
    held_out = [example for example in dataset.examples if example.image_id not in training]
    gains = []
    for question, ranked in expert.answer(features[~inside]).items():
        pairs = [(c[0].answers, e.answers[question]) for c, e in zip(ranked, held_out, strict=True)]
        majority = expert.vocabulary[question].majority
        gains.append(np.mean([same_answer(a, b) - float(same_answer(majority, b)) for a, b in pairs]))
    assert len(gains) == 15
    assert np.mean(gains) > 0.2
