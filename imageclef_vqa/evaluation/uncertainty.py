"""Confidence intervals from a cluster bootstrap: near-duplicate images are drawn together or not at all.

Frames of one examination have similar answers. Drawing the images independently would make the intervals too narrow
(Cameron, Gelbach and Miller 2008, "Bootstrap-Based Improvements for Inference with Clustered Errors").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from imageclef_vqa.evaluation.metrics import Numbers, ratio, sums_by_label

RESAMPLES = 10_000
_MIDDLE_95 = (0.025, 0.975)


def clusters_of(image_ids: Sequence[str], groups: Mapping[str, int] | None) -> NDArray[np.int64]:
    """The cluster of each image, `[image]`, numbered from 0; an image without a group is a cluster of its own."""
    numbers: dict[object, int] = {}
    keys = [image_id if groups is None else groups.get(image_id, image_id) for image_id in image_ids]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


@dataclass(frozen=True)
class Bootstrap:
    """Resamples of the same images for any number of tables, which can therefore be compared in pairs.

    `clusters` is `[image]`, numbered as in `clusters_of`.
    """

    clusters: NDArray[np.int64]
    seed: int = 0
    resamples: int = RESAMPLES

    @property
    def num_clusters(self) -> int:
        return int(self.clusters.max()) + 1

    @cached_property
    def counts(self) -> Numbers:
        """How often each cluster is drawn, `[resample, cluster]`."""
        size, random = self.num_clusters, np.random.default_rng(self.seed)
        counts = np.empty((self.resamples, size))
        for row in counts:
            row[:] = np.bincount(random.integers(size, size=size), minlength=size)
        return counts

    def sums(self, table: Numbers | NDArray[np.bool_], resamples: int | None = None) -> Numbers:
        """Sums over the drawn images, `[resample, column]`, of `table` [image, column].

        `resamples` uses only the first ones.
        """
        per_cluster = sums_by_label(table, self.clusters, self.num_clusters)
        return np.asarray(self.counts[:resamples] @ per_cluster, dtype=np.float64)

    def means(self, table: Numbers, resamples: int | None = None) -> Numbers:
        """Means over the drawn images, `[resample, column]`, of `table` [image, column] without its NaN.

        NaN where no known value was drawn. `resamples` uses only the first ones.
        """
        known = ~np.isnan(table)
        return ratio(self.sums(np.where(known, table, 0.0), resamples), self.sums(known, resamples))


def resampled_means(
    table: Numbers, clusters: NDArray[np.int64], *, seed: int = 0, resamples: int = RESAMPLES
) -> Numbers:
    """Means per question over resamples of whole clusters, `[resample, question]`.

    Args:
        table: `[image, question]`, NaN where an image has no gold answer to a question.
        clusters: `[image]`, numbered as in `clusters_of`.
    """
    return Bootstrap(clusters, seed, resamples).means(table)


def interval95(samples: Numbers) -> tuple[float, float]:
    """The middle 95% of `samples` [resample] without NaN; (NaN, NaN) if all are NaN."""
    known = samples[~np.isnan(samples)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, _MIDDLE_95)
    return float(low), float(high)
