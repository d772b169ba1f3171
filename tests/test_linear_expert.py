"""The linear expert: what it sees, learns, saves and refuses to load."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from imageclef_vqa.data import load_pixels, make_split, read_dataset
from imageclef_vqa.editions import same_answer
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.experts.descriptors import BLOCKS, SIZE, describe, describe_turned
from imageclef_vqa.experts.linear import LinearExpert, fit_linear_expert, load_expert, save_expert, settings_for

SAMPLE = Path(os.environ.get("MEDVQA_SAMPLE", Path(__file__).parents[2] / "shared" / "data" / "medvqa-gi-2023-sample"))
MADE_FROM = settings_for({"data": "a", "training": "b"})


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
def fitted() -> tuple[LinearExpert, np.ndarray, list[dict[int, tuple[str, ...]]]]:
    pixels, answers = pictures()
    return fit_linear_expert(describe_turned(pixels), answers), describe(pixels), answers


def test_features_do_not_depend_on_the_images_beside_them() -> None:
    pixels, _ = pictures(70)
    features = describe(pixels)
    assert features.shape == (70, sum(BLOCKS))
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features[69:], describe(pixels[69:]))


def test_features_of_plain_colour_are_those_computed_by_hand() -> None:
    features = describe(np.full((1, SIZE, SIZE, 3), (255, 0, 0), np.uint8))[0]
    hue, saturation, value = features[: BLOCKS[0]].reshape(3, 16, 8)
    assert (hue[:, 0] == 1).all()
    assert (saturation[:, 7] == 1).all()
    assert (value[:, 7] == 1).all()
    assert (features[BLOCKS[0] : -BLOCKS[2]] == 0).all()
    assert features[-BLOCKS[2] :].reshape(-1, 3).tolist() == [[1, 0, 0]] * 256


def test_a_vertical_edge_is_counted_in_its_cells_and_direction_only() -> None:
    pixels = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    pixels[:, :, SIZE // 2 + 4 :] = 255
    edges = describe(pixels)[0, BLOCKS[0] : -BLOCKS[2]].reshape(8, 8, 8)  # row, column, direction
    assert (edges[:, 4, 0] > 0).all()
    edges[:, 4, 0] = 0
    assert not edges.any()


def test_whole_sets_are_learnt_and_ranked(fitted: tuple) -> None:
    expert, features, answers = fitted
    ranked = expert.rank(features, (0, 3, 5))
    right = [same_answer(c[0].answers, a[5]) for c, a in zip(ranked[5], answers, strict=True)]
    assert sum(right) >= 23  # but for the one odd answer
    assert all(c[0].answers == a[3] for c, a in zip(ranked[3], answers, strict=True))
    for candidates in ranked[5]:
        probabilities = [candidate.probability for candidate in candidates]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1)


def test_a_question_with_one_answer_gets_it_for_sure(fitted: tuple) -> None:
    expert, features, _ = fitted
    assert {(c[0].answers, c[0].probability) for c in expert.rank(features, [0])[0]} == {(("Colonoscopy",), 1.0)}


def test_a_question_that_training_never_answers_has_no_head(fitted: tuple) -> None:
    assert set(fitted[0].heads) == {0, 3, 5}


def test_a_saved_expert_answers_as_the_fitted_one_and_is_saved_in_the_same_bytes(fitted: tuple, tmp_path: Path) -> None:
    expert, features, answers = fitted
    save_expert(tmp_path / "one", expert, MADE_FROM)
    save_expert(tmp_path / "two", fit_linear_expert(describe_turned(pictures()[0]), answers), MADE_FROM)
    loaded = load_expert(tmp_path / "one", MADE_FROM)
    assert loaded is not None
    assert loaded.rank(features, loaded.heads) == expert.rank(features, expert.heads)
    for name in ("expert.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_expert_made_from_other_data_is_not_used(fitted: tuple, tmp_path: Path) -> None:
    save_expert(tmp_path, fitted[0], MADE_FROM)
    assert load_expert(tmp_path, settings_for({"data": "a", "training": "c"})) is None
    assert load_expert(tmp_path / "nowhere", MADE_FROM) is None


def test_a_turned_picture_resembles_what_it_resembled_before(fitted: tuple) -> None:
    expert, _, _ = fitted
    turned = describe_turned(pictures()[0])
    components = np.matmul(turned - expert.centre, expert.basis, dtype=np.float32)
    one_way = replace(expert.kernel, anchors=expert.kernel.anchors[:1])
    moved, unmoved = (
        np.stack([kernel(view) for view in components]).std(axis=0).mean() for kernel in (one_way, expert.kernel)
    )
    assert unmoved < 0.3 * moved


def test_an_image_without_an_answer_has_no_vote(fitted: tuple) -> None:
    _, features, answers = fitted
    views = describe_turned(pictures()[0])
    partly = [image if at < 12 else {3: image[3]} for at, image in enumerate(answers)]
    expert = fit_linear_expert(views, partly)
    assert set(expert.classes[5][12:]) == {-1}
    first = fit_linear_expert(views[:, :12], partly[:12])
    for one, other in zip(expert.rank(features, [5])[5], first.rank(features, [5])[5], strict=True):
        assert one[0].answers == other[0].answers
        assert sum(candidate.probability for candidate in one) == pytest.approx(1)


def spoil_weights(folder: Path, name: str, tensor: np.ndarray) -> None:
    """Replace one tensor and make the header agree, so that only shape and values can tell."""
    import hashlib

    path = folder / "model.safetensors"
    save_file({**load_file(path), name: tensor}, path)
    header = json.loads((folder / "expert.json").read_text())
    header["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "expert.json").write_text(json.dumps(header))


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("question5.weight", np.zeros((2, 4), np.float32)),
        ("question5.bias", np.zeros(3, np.float64)),
        ("question3.bias", np.full(2, np.nan, np.float32)),
        ("basis", np.zeros((), np.float32)),
        ("kernel.mixing", np.zeros((3, 4), np.float32)),
        ("question5.classes", np.full(24, 9, np.int32)),
        ("question9.bias", np.zeros(2, np.float32)),
    ],
)
def test_weights_that_do_not_fit_are_refused(fitted: tuple, tmp_path: Path, name: str, tensor: np.ndarray) -> None:
    save_expert(tmp_path, fitted[0], MADE_FROM)
    spoil_weights(tmp_path, name, tensor)
    with pytest.raises(MedvqaError, match=r"is damaged: .*question|is damaged: (basis|kernel)"):
        load_expert(tmp_path, MADE_FROM)


@pytest.mark.parametrize("name", ["expert.json", "model.safetensors"])
def test_a_file_cut_short_is_refused(fitted: tuple, tmp_path: Path, name: str) -> None:
    save_expert(tmp_path, fitted[0], MADE_FROM)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(MedvqaError, match=r"is damaged.*\n.*medvqa route"):
        load_expert(tmp_path, MADE_FROM)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"the real sample is not at {SAMPLE}")
def test_on_real_images_the_expert_is_far_above_the_majority_answer(tmp_path: Path) -> None:
    dataset = read_dataset(SAMPLE / "development", cache=tmp_path)
    views = describe_turned(load_pixels(dataset, SIZE, None))
    training = set(make_split(dataset, folds=4, cache=tmp_path).train())
    inside = np.array([example.image_id in training for example in dataset.examples])
    expert = fit_linear_expert(
        views[:, inside], [example.answers for example in dataset.examples if example.image_id in training]
    )
    held_out = [example for example in dataset.examples if example.image_id not in training]
    gains = []
    for question, ranked in expert.rank(views[0, ~inside], expert.heads).items():
        pairs = [(c[0].answers, e.answers[question]) for c, e in zip(ranked, held_out, strict=True)]
        majority = expert.vocabulary[question].majority
        gains.append(np.mean([same_answer(a, b) - float(same_answer(majority, b)) for a, b in pairs]))
    assert len(gains) == 15
    assert np.mean(gains) > 0.2
