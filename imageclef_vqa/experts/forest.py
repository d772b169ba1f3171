"""Nearest neighbours over whole answer sets, near by a forest: who shares leaves with an image votes on its answers.

Extremely randomised trees (Geurts et al. 2006) split the training images by their features so that the answers to all
questions, taken together, differ little within a leaf. In each tree the training images of a new image's leaf share
one vote (Lin and Jeon 2006). Only these leaves are kept, no answers: one forest serves every question.

i images, f features, n training images, t trees, v nodes of all trees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.ensemble import ExtraTreesRegressor

from imageclef_vqa.editions import Vocabulary

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]
_TREES = 200
_LEAF = 2  # training images in a leaf, at least
_FEATURES = 0.05  # share of the features that a split may choose from
_DIRECTIONS = 16  # in which answers differ most
SETTINGS = f"{_TREES} trees, leaves of {_LEAF}, {_FEATURES} of the features, {_DIRECTIONS} directions; 1"


@dataclass(frozen=True)
class Forest:
    """Trees side by side: a node goes left where its feature is at most its threshold; a leaf's children are -1."""

    feature: Integers  # [v]
    threshold: Floats  # [v]
    left: Integers  # [v]
    right: Integers  # [v]
    roots: Integers  # [t]
    leaves: Integers  # [n, t]: nodes where the training images end

    def __call__(self, features: Floats) -> NDArray[np.float64]:
        """The votes [i, n] of the training images for each image of `features` [i, f]; they sum to 1."""
        trees, images = self.leaves.shape[1], len(self.leaves)
        size = np.bincount(self.leaves.ravel(), minlength=len(self.feature))
        ends = self.leaves_of(features)
        reached = csr_array(
            (np.full(ends.size, 1 / trees), ends.ravel(), np.arange(0, ends.size + 1, trees)),
            shape=(len(ends), len(self.feature)),
        )
        held = csr_array(
            (1 / size[self.leaves.ravel()], self.leaves.ravel(), np.arange(0, self.leaves.size + 1, trees)),
            shape=(images, len(self.feature)),
        )
        votes: NDArray[np.float64] = (reached @ held.T).toarray()
        return votes

    def leaves_of(self, features: Floats) -> Integers:
        """The nodes [i, t] where images end."""
        at = np.tile(self.roots, (len(features), 1))
        row = np.arange(len(features))[:, None]
        while (inner := self.left[at] >= 0).any():
            goes_left = features[row, self.feature[at]] <= self.threshold[at]
            at = np.where(inner, np.where(goes_left, self.left[at], self.right[at]), at)
        return at

    def check(self, features: int) -> None:
        """Hold the trees to what walking them needs: every step leads on, and ends at a leaf.

        Raises:
            ValueError: they are no trees over so many features.
        """
        nodes = np.arange(len(self.feature))
        inner = self.left >= 0
        below = (self.left > nodes) & (self.right > nodes) & (np.maximum(self.left, self.right) < len(nodes))
        inside = [(part >= 0).all() and (part < len(nodes)).all() for part in (self.roots, self.leaves)]
        known = (self.feature[inner] >= 0) & (self.feature[inner] < features)
        if not (below[inner].all() and known.all() and all(inside) and not inner[self.leaves].any()):
            raise ValueError("forest: its nodes do not lead to leaves")


def grow_forest(features: Floats, answers: NDArray[np.float64]) -> Forest:
    """A forest over training images: `features` [n, f], and what they answer, as `directions` has it [n, d]."""
    model = ExtraTreesRegressor(_TREES, max_features=_FEATURES, min_samples_leaf=_LEAF, random_state=0, n_jobs=-1).fit(
        features, answers
    )
    trees = [estimator.tree_ for estimator in model.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
    exact = np.concatenate([tree.threshold for tree in trees])
    rounded = exact.astype(np.float32)
    children = [
        np.concatenate([np.where(side >= 0, side + root, -1) for side, root in zip(sides, roots, strict=True)])
        for sides in ([tree.children_left for tree in trees], [tree.children_right for tree in trees])
    ]
    return Forest(
        feature=np.concatenate([tree.feature for tree in trees]).astype(np.int32),
        # A float32 is at most the threshold just where it is at most the threshold rounded down.
        threshold=np.where(rounded > exact, np.nextafter(rounded, np.float32(-np.inf)), rounded).astype(np.float32),
        left=children[0].astype(np.int32),
        right=children[1].astype(np.int32),
        roots=roots.astype(np.int32),
        leaves=(model.apply(features) + roots).astype(np.int32),
    )


def directions(vocabulary: Vocabulary, classes: Mapping[int, Integers]) -> NDArray[np.float64]:
    """In what the answers of n images differ most: principal components [n, d] of which sets and which members each
    answers. `classes` [n] holds by question the place of its set in the vocabulary, -1 where it has none."""
    columns = []
    for question_id, places in classes.items():
        entry, known = vocabulary[question_id], places >= 0
        members = [[member in answers for member in entry.members] for answers, _ in entry.sets]
        said = np.hstack([np.eye(len(entry.sets)), np.array(members, float)])
        own = np.zeros((len(known), said.shape[1]))
        own[known] = said[places[known]] - said[places[known]].mean(axis=0)  # without an answer: as the others do
        columns.append(own)
    left, strength, _ = np.linalg.svd(np.hstack(columns), full_matrices=False)
    return np.asarray(left[:, :_DIRECTIONS] * strength[:_DIRECTIONS])
