"""The forest whose leaves hold an image's nearest neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesRegressor

from imageclef_vqa.editions import learn_vocabulary
from imageclef_vqa.experts import forest
from imageclef_vqa.experts.forest import Forest, directions, grow_forest


def grown(images: int = 40, seed: int = 0) -> tuple[Forest, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    features = random.normal(size=(images, 30)).astype(np.float32).round(1)  # ties, as histograms have
    answers = np.stack([features[:, 0] > 0, features[:, 1] > 0.5], axis=1).astype(float)
    return grow_forest(features, answers), features, answers


def test_an_image_ends_in_the_leaves_where_scikit_learn_puts_it() -> None:
    trees, features, answers = grown()
    model = ExtraTreesRegressor(
        forest._TREES, max_features=forest._FEATURES, min_samples_leaf=forest._LEAF, random_state=0
    ).fit(features, answers)
    others = np.random.default_rng(1).normal(size=(50, 30)).astype(np.float32).round(1)
    np.testing.assert_array_equal(trees.leaves_of(features), trees.leaves)
    np.testing.assert_array_equal(trees.leaves_of(others), model.apply(others) + trees.roots)


def test_votes_of_training_images_are_those_counted_by_hand() -> None:
    trees, features, _ = grown()
    ends = trees.leaves_of(features[:3] + np.float32(0.05))
    by_hand = [
        np.mean(
            [(trees.leaves[:, t] == leaf) / (trees.leaves[:, t] == leaf).sum() for t, leaf in enumerate(row)], axis=0
        )
        for row in ends
    ]
    np.testing.assert_allclose(trees(features[:3] + np.float32(0.05)), by_hand, atol=1e-12)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 12), st.integers(0, 3))
def test_votes_sum_to_one_however_few_images_there_are(images: int, seed: int) -> None:
    trees, features, _ = grown(images, seed)
    trees.check(features.shape[1])
    np.testing.assert_allclose(trees(features).sum(axis=1), 1)


def test_neighbours_are_those_with_the_same_answers() -> None:
    trees, _, answers = grown(200)
    others = np.random.default_rng(2).normal(size=(100, 30)).astype(np.float32)
    truth = (others[:, 0] > 0) == (trees(others) @ answers[:, 0] > 0.5)
    assert truth.mean() > 0.75


def test_answers_are_centred_and_those_that_are_missing_are_average() -> None:
    vocabulary = learn_vocabulary([(4, ("Yes",)), (4, ("No",)), (5, ("Red", "Pink")), (5, ("Red",))])
    places = {4: np.array([0, 1, -1, -1], np.int32), 5: np.array([-1, -1, 0, 1], np.int32)}
    made = directions(vocabulary, places)
    assert made.shape[0] == 4
    np.testing.assert_allclose(made.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(made[0], -made[1], atol=1e-12)
    np.testing.assert_allclose((made @ made.T)[:2, 2:], 0, atol=1e-12)


@pytest.mark.parametrize("name", ["left", "right", "roots", "leaves", "feature"])
def test_trees_that_lead_nowhere_are_refused(name: str) -> None:
    trees, features, _ = grown()
    values = getattr(trees, name).copy()
    values.flat[np.flatnonzero(trees.left >= 0)[0] if name in ("left", "right", "feature") else 0] = {
        "left": 0,
        "right": 10**6,
        "roots": -1,
        "leaves": trees.roots[0],
        "feature": 30,
    }[name]
    with pytest.raises(ValueError, match="do not lead to leaves"):
        replace(trees, **{name: values}).check(features.shape[1])
