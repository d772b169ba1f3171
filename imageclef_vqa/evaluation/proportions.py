"""Wilson's intervals of shares, on effective sample sizes: with few mistakes, the bootstrap's are too narrow.

Near-duplicate images say less than as many independent ones. Their intraclass correlation of mistakes is estimated for
each question, and turned into the number of independent images that would say as much (Kish 1965, section 8.2). In
simulations, 95% intervals hold the true share in 93 to 97% of the cases, for shares of 0.5 to 0.98 and 48 to 1,938
images of which up to a third are in groups (`examples/experiments.md`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from imageclef_vqa.evaluation.metrics import Numbers

_Z95 = 1.959964  # two-sided
# The correlation before any mistake is seen, and the pairs of a mistake and another image of its group that it is
# worth. Few mistakes in groups say nearly nothing about the correlation: without this, the intervals of shares above
# 0.9 are too narrow.
_EXPECTED_CORRELATION, _WORTH = 0.5, 3.0


def share_intervals(table: Numbers, clusters: NDArray[np.int64]) -> list[tuple[float, float]]:
    """The 95% interval of the mean of each column; (NaN, NaN) for a column without known values.

    Args:
        table: `[image, column]`, 0 to 1, NaN where nothing is known.
        clusters: `[image]`, the group of near-duplicates of each image.
    """
    known = ~np.isnan(table)
    return [_share_interval(table[own, column], clusters[own]) for column, own in enumerate(known.T)]


def wilson_interval(share: float, size: float) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share that was seen among `size` independent images, at 95%."""
    middle, spread = share + _Z95**2 / (2 * size), _Z95 * np.sqrt((share * (1 - share) + _Z95**2 / (4 * size)) / size)
    whole = 1 + _Z95**2 / size
    return max(0.0, float((middle - spread) / whole)), min(1.0, float((middle + spread) / whole))


def _share_interval(values: Numbers, clusters: NDArray[np.int64]) -> tuple[float, float]:
    return wilson_interval(float(values.mean()), effective_size(values, clusters)) if len(values) else (np.nan, np.nan)


def effective_size(values: Numbers, clusters: NDArray[np.int64]) -> float:
    """The number of independent images, right or wrong, whose share would be as uncertain as the mean of `values`.

    Args:
        values: `[image]`, 0 to 1, at least one.
        clusters: `[image]`.
    """
    count, share = len(values), float(values.mean())
    _, cluster_of, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    residuals = values - share
    squares = float((residuals**2).sum())
    within = float((np.bincount(cluster_of, residuals) ** 2).sum()) - squares  # summed over pairs of a cluster
    most = squares / count * float((sizes * (sizes - 1)).sum())
    correlation = np.clip((within + _WORTH * _EXPECTED_CORRELATION) / (most + _WORTH), 0.0, 1.0)
    size = count / (1 + (float((sizes**2).sum()) / count - 1) * correlation)
    if squares:  # values between 0 and 1 vary less than right and wrong ones
        size *= count * share * (1 - share) / squares
    if len(sizes) > 1:  # few clusters are less certain than their size says (Korn and Graubard 1998)
        size *= float(stdtrit(count - 1, 0.975) / stdtrit(len(sizes) - 1, 0.975)) ** 2
    return float(size)
