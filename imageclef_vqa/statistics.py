"""Statistics that more than one part of the package computes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Key = TypeVar("Key", bound=Hashable)


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
