"""Iterative stratification of groups over many labels (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def stratify(counts: np.ndarray, sizes: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    """The fold [g] of every group, so that each fold gets its share of every label.

    The groups with the rarest label are assigned first, and of these the largest first. A group goes to the fold that
    lacks most of the label, among the folds that still have room.

    Args:
        counts: how often each label occurs in each group [g, l].
        sizes: images per group [g].
        shares: of the images, per fold [f].
        seed: of the order of groups of equal size.
    """
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    lacking = np.outer(shares, counts.sum(0))  # [f, l]
    room = np.asarray(shares) * sizes.sum()  # [f]
    fold = np.full(len(sizes), -1)
    left = counts.sum(0)
    while (fold < 0).any():
        label = int(np.argmin(np.where(left > 0, left, np.inf))) if left.any() else None
        for group in order:
            if fold[group] >= 0 or (label is not None and not counts[group, label]):
                continue
            lack = room if label is None else lacking[:, label]
            # Rounded, so that the last digits of sums do not decide.
            choices = [
                (room[f] <= 0, -round(float(lack[f]), 9), -round(float(room[f]), 9), f) for f in range(len(shares))
            ]
            chosen = min(choices)[-1]
            fold[group] = chosen
            lacking[chosen] -= counts[group]
            room[chosen] -= sizes[group]
            left = left - counts[group]
    return fold
