"""Intervals by the bootstrap, clustered: images that resemble each other are drawn together or not at all.

Frames of one examination share their answers, so images drawn one by one would make an interval look narrower than it
is (Cameron, Gelbach and Miller 2008 on the clustered bootstrap).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from imageclef_vqa.evaluation.metrics import Numbers

RESAMPLES = 10_000
_CHUNK = 500  # resamples at a time: 500 × 2,000 clusters in float64 are 8 MB


def clusters_of(image_ids: Sequence[str], groups: Mapping[str, int] | None) -> NDArray[np.int64]:
    """A cluster's number, from 0, for each image; an image that no group holds is a cluster of its own."""
    numbers: dict[object, int] = {}
    keys = [image_id if groups is None else groups.get(image_id, image_id) for image_id in image_ids]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def resampled_means(
    table: Numbers, clusters: NDArray[np.int64], *, seed: int = 0, resamples: int = RESAMPLES
) -> Numbers:
    """Means per question, `[resample, question]`, when whole clusters are drawn with replacement.

    Args:
        table: `[image, question]`, NaN where a question has no gold answer.
        clusters: `[image]`, as `clusters_of` numbers them.
    """
    known = ~np.isnan(table)
    count = int(clusters.max()) + 1
    sums, sizes = np.zeros((count, table.shape[1])), np.zeros((count, table.shape[1]))
    np.add.at(sums, clusters, np.where(known, table, 0.0))
    np.add.at(sizes, clusters, known)
    random = np.random.default_rng(seed)
    means = np.full((resamples, table.shape[1]), np.nan)
    for start in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - start)
        drawn = random.integers(count, size=(rows, count)) + np.arange(rows)[:, None] * count
        weights = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)
        drawn_sizes = weights @ sizes
        np.divide(weights @ sums, drawn_sizes, out=means[start : start + rows], where=drawn_sizes > 0)
    return means


def interval95(samples: Numbers) -> tuple[float, float]:
    """The middle 95% of `samples`, NaN apart."""
    low, high = np.quantile(samples[~np.isnan(samples)], (0.025, 0.975))
    return float(low), float(high)
