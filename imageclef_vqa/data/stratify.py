"""Iterative stratification of groups over many labels (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011), size by size.

g groups, l labels, f folds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def stratify(counts: np.ndarray, sizes: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    """The fold [g] of every group, so that each fold gets its share of every label and of groups of every size.

    Groups are assigned in classes of size, from the largest to 3 or 4 images, 2, and 1. Each fold has a share of each
    class. What it lacks of images and labels after one class, or has too much of, is made good by the next. Without
    classes, a small fold would get single images only: large groups fit where most is lacking, the largest fold.

    Within a class, the groups with the rarest label are assigned first. A group goes to the fold that lacks most of
    the label, among the folds that still have room for half of it.

    Args:
        counts: how often each label occurs in each group [g, l].
        sizes: images per group [g].
        shares: of the images, per fold [f].
        seed: of the order of groups with the same label and class of size.
    """
    order = np.random.default_rng(seed).permutation(len(sizes))
    size_class = np.ceil(np.log2(sizes[order]))
    lacking, room = np.zeros((len(shares), counts.shape[1])), np.zeros(len(shares))
    fold = np.full(len(sizes), -1)
    for each in sorted(set(size_class.tolist()), reverse=True):
        groups = order[size_class == each]
        lacking += np.outer(shares, counts[groups].sum(0))
        room += np.asarray(shares) * sizes[groups].sum()
        for group, label in _rarest_first(counts, groups):
            chosen = _fold_for(sizes[group], room if label is None else lacking[:, label], room)
            fold[group] = chosen
            lacking[chosen] -= counts[group]
            room[chosen] -= sizes[group]
    return fold


def _rarest_first(counts: np.ndarray, groups: np.ndarray) -> Iterator[tuple[int, int | None]]:
    """Each group with the label that is the rarest among the groups that are left; None if they have no labels."""
    left = counts[groups].sum(0)
    while len(groups):
        label = int(np.argmin(np.where(left > 0, left, np.inf))) if left.any() else None
        found = np.ones(len(groups), bool) if label is None else counts[groups, label] > 0
        for group in groups[found].tolist():
            yield group, label
        left = left - counts[groups[found]].sum(0)
        groups = groups[~found]


def _fold_for(size: float, lack: np.ndarray, room: np.ndarray) -> int:
    """The fold with the greatest `lack` [f], then with the most `room` [f], that has room for half of a group."""
    # Rounded, so that the last digits of sums do not decide.
    lack, room = lack.round(9), room.round(9)
    candidates = np.flatnonzero(room >= size / 2)
    if not len(candidates):
        candidates = np.flatnonzero(room == room.max())
    return int(min(candidates, key=lambda fold: (-lack[fold], -room[fold], fold)))
