"""The expert on an encoder's features: what it sees of an image, and that only it needs the encoder's package."""

import math
from dataclasses import replace

import numpy as np
import pytest
from small_dataset import write_dataset

from imageclef_vqa.checkpoints import packaged
from imageclef_vqa.data import make_split, read_dataset
from imageclef_vqa.data.augmentation import MIRRORED
from imageclef_vqa.editions import Candidate, learn_vocabulary, read_predictions
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.experts import features
from imageclef_vqa.experts.classical import Models, answer_images, fit
from imageclef_vqa.experts.views import answers_in, mean_over_views
from imageclef_vqa.models.configs import EFFICIENTNET_LITE
from imageclef_vqa.models.encoders import build_encoder
from imageclef_vqa.pipeline.route import default_experts
from imageclef_vqa.statistics import cell_means
from imageclef_vqa.workspace import Workspace


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """The package, with a small encoder of random weights in the place of its own."""
    sizes = replace(EFFICIENTNET_LITE["efficientnet-lite0"], image_size=96)
    encoder = build_encoder(sizes)
    monkeypatch.setattr(encoder, "read", super(type(encoder), encoder).read)  # the engine takes seconds
    monkeypatch.setattr(features, "_SIZES", sizes)
    monkeypatch.setattr(features, "_encoder", lambda: encoder)
    (tmp_path / "lite.pth").write_bytes(b"weights")
    monkeypatch.setattr(features, "require_packaged_weights", lambda _name: tmp_path / "lite.pth")
    monkeypatch.setattr(features, "available", lambda: True)


@pytest.mark.parametrize("side", [3, 7, 9, 10])
def test_each_cell_is_the_mean_of_its_own_patches(side):
    patches = np.random.default_rng(side).normal(size=(2, side * side, 5))
    found = cell_means(patches).reshape(2, 3, 3, 5)
    grid = patches.reshape(2, side, side, 5)
    bounds = [cell * side // 3 for cell in range(4)]
    for row in range(3):
        for column in range(3):
            own = grid[:, bounds[row] : bounds[row + 1], bounds[column] : bounds[column + 1]]
            np.testing.assert_allclose(found[:, row, column], own.mean(axis=(1, 2)))


def test_its_answers_are_made_once_and_for_images_without_a_cache_too(installed, tmp_path):
    workspace = Workspace.at(tmp_path)
    dataset = write_and_read(workspace)
    descriptor = features.descriptor()
    assert not answer_images(workspace, descriptor, fold=0)
    assert answer_images(workspace, descriptor, fold=0), "the same data and weights: kept"
    answered = {each.image_id for each in read_predictions(workspace.expert("features") / "val.jsonl")}
    assert answered == set(make_split(dataset, val=0.25).val())
    cached = descriptor.describe(dataset, workspace.cache, MIRRORED[1])
    np.testing.assert_array_equal(cached, descriptor.describe(dataset, None, MIRRORED[1]))
    assert cached.shape == (len(dataset), 9 * features._SIZES.width)


def test_locations_move_with_a_mirrored_view_and_its_answers_move_back():
    assert answers_in(MIRRORED[1], {10: ("Upper-left",), 5: ("Pink",)}) == {10: ("Upper-right",), 5: ("Pink",)}
    assert answers_in(MIRRORED[1], {10: ("nowhere",), 5: ("Pink",)}) == {5: ("Pink",)}
    vocabulary = learn_vocabulary([(10, ("Upper-left", "Center")), (10, ("Upper-right", "Center"))])
    plain = {10: [(Candidate(answers=("Center", "Upper-left"), probability=0.6),)]}
    mirrored = {10: [(Candidate(answers=("Center", "Upper-right"), probability=0.8),)]}
    assert mean_over_views(vocabulary, MIRRORED[:1], [plain], 5) == plain
    (((best,),),) = mean_over_views(vocabulary, MIRRORED[:2], [plain, mirrored], 5).values()
    assert best.answers == ("Center", "Upper-left")
    assert best.probability == pytest.approx(0.7)


def test_other_weights_make_other_answers(installed, tmp_path):
    workspace = Workspace.at(tmp_path)
    write_and_read(workspace)
    answer_images(workspace, features.descriptor(), fold=0)
    (tmp_path / "lite.pth").write_bytes(b"other weights")
    assert not answer_images(workspace, features.descriptor(), fold=0)


def write_and_read(workspace):
    write_dataset(workspace.development, 12)
    dataset = read_dataset(workspace.development)
    make_split(dataset, val=0.25).write(workspace.split_file)
    return dataset


def test_without_a_forest_the_regressions_answer_by_themselves():
    seen = np.random.default_rng(0).normal(size=(20, 6))
    answers = [{3: ("Yes" if row[0] > 0 else "No",)} for row in seen]
    linear = Models(kernel={"kernel": "linear", "n_components": 5}, regression={"C": 100.0})
    expert = fit(seen, answers, linear)
    assert expert.forest is None
    (ranked,) = expert.answer(seen).values()
    assert np.mean([best[0].answers == given[3] for best, given in zip(ranked, answers, strict=True)]) >= 0.9
    assert all(math.isclose(sum(each.probability for each in ranking), 1) for ranking in ranked)


def test_it_is_a_candidate_of_routing_where_the_package_is_installed(installed, monkeypatch):
    assert default_experts("evidence", None) == ["classical", "features"]
    monkeypatch.setattr(features, "available", lambda: False)
    assert default_experts("evidence", None) == ["classical"]


def test_without_the_package_asking_for_it_names_the_package(monkeypatch):
    monkeypatch.setitem(packaged.PACKAGES, features.ENCODER, "a-package-that-nobody-has")
    with pytest.raises(MedvqaError, match=r"not installed\n.*pip install a-package-that-nobody-has"):
        features.descriptor()
