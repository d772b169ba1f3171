"""Statistics that more than one part of the package computes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Key = TypeVar("Key", bound=Hashable)
_LEAST_EXPECTED = 5.0  # Cochran's rule
CELLS = 3  # along a side of an image


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """p-values corrected for multiple testing by Holm's step-down method (1979), under the same keys."""
    corrected: dict[Key, float] = {}
    highest = 0.0
    for rank, (key, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        corrected[key] = highest
    return {key: corrected[key] for key in p_values}


def confidence_bins(confidences: ArrayLike, bins: int = 10) -> NDArray[np.int64]:
    """The bin, from 0, of each of the confidences `[n]`, in bins of about equal count; equal values share a bin.

    Bins of equal width would leave most of them nearly empty, because most confidences are close to 1 (Nixon et al.
    2019, "Measuring Calibration in Deep Learning", section 4).
    """
    values = np.asarray(confidences, dtype=np.float64)
    edges = np.quantile(values, np.arange(1, bins) / bins, method="higher")
    _, numbers = np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)
    return np.asarray(numbers, dtype=np.int64).ravel()


def expected_calibration_error(confidences: ArrayLike, correct: ArrayLike) -> float:
    """Mean absolute difference of confidence and accuracy over ten `confidence_bins`, weighted by their sizes.

    Args:
        confidences: probabilities of the answers, `[n]`, 0 to 1; n is at least 1.
        correct: whether each answer is correct, `[n]`.
    """
    differences = np.asarray(confidences, dtype=np.float64) - np.asarray(correct, dtype=np.float64)
    sums = np.bincount(confidence_bins(confidences), weights=differences)
    return float(np.abs(sums).sum() / len(differences))


def homogeneity(one: Counter[Any], other: Counter[Any]) -> float:
    """p-value of Pearson's chi-square test that two samples have one distribution; 1 if either is empty.

    Categories expected fewer than five times in a sample are merged into one.
    """
    from scipy.special import chdtrc  # here: few commands need SciPy

    table = np.array([(one[key], other[key]) for key in {**one, **other}], dtype=np.float64).reshape(-1, 2)
    if not table.sum(axis=0).all():
        return 1.0
    rare = (_expected(table) < _LEAST_EXPECTED).any(axis=1)
    if rare.any():
        table = np.vstack([table[~rare], table[rare].sum(axis=0)])
    statistic = ((table - _expected(table)) ** 2 / _expected(table)).sum()
    return float(chdtrc(len(table) - 1, statistic)) if len(table) > 1 else 1.0


def _expected(table: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()


def distance(one: Counter[Any], other: Counter[Any]) -> float:
    """Total variation distance of two samples: the share of one that would have to change, 0 to 1."""
    sizes = max(one.total(), 1), max(other.total(), 1)
    return sum(abs(one[key] / sizes[0] - other[key] / sizes[1]) for key in {**one, **other}) / 2


def cell_means(patches: np.ndarray) -> np.ndarray:
    """An image's patches [i, p, d], a square grid, → their means over 3 × 3 cells, row by row [i, 9 d].

    Tokens before the grid, such as a class token, are left out.
    """
    side = math.isqrt(patches.shape[1])
    grid = patches[:, -side * side :].reshape(len(patches), side, side, -1).astype(np.float64)
    starts = np.arange(CELLS) * side // CELLS
    for axis in (1, 2):
        grid = np.add.reduceat(grid, starts, axis=axis)
    counts = np.maximum(np.diff(np.append(starts, side)), 1)  # of fewer than three patches, one is taken twice
    return np.asarray((grid / np.outer(counts, counts)[..., None]).reshape(len(patches), -1))
