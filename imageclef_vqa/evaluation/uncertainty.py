"""Intervals by the bootstrap, clustered: images that resemble each other are drawn together or not at all.

Frames of one examination share their answers, so images drawn one by one would make an interval look narrower than it
is (Cameron, Gelbach and Miller 2008 on the clustered bootstrap).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from imageclef_vqa.evaluation.metrics import Numbers, T, sums_by_label

RESAMPLES = 10_000
# Resamples at a time, whose numbers stay in the cache: of 2,000 clusters, 0.3 MB to draw and 1.6 MB to multiply.
_DRAWN, _MULTIPLIED = 20, 200
_MIDDLE = (0.025, 0.975)
_EXACT = 2**24  # whole numbers below it are themselves in float32


def clusters_of(image_ids: Sequence[str], groups: Mapping[str, int] | None) -> NDArray[np.int64]:
    """A cluster's number, from 0, for each image; an image that no group holds is a cluster of its own."""
    numbers: dict[object, int] = {}
    keys = [image_id if groups is None else groups.get(image_id, image_id) for image_id in image_ids]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


@dataclass(frozen=True)
class Draws:
    """Bootstrap resamples of the same images, for any number of tables: what shares them can be compared pairwise.

    `clusters` is `[image]`, as `clusters_of` numbers them.
    """

    clusters: NDArray[np.int64]
    seed: int = 0
    resamples: int = RESAMPLES

    @property
    def count(self) -> int:
        return int(self.clusters.max()) + 1

    @cached_property
    def times(self) -> NDArray[np.uint8]:
        """How often each cluster was drawn, `[resample, cluster]`.

        A byte holds it: of n clusters drawn n times, one comes 256 times with a chance below 1 / 256!, about 1e-507.
        """
        random = np.random.default_rng(self.seed)
        times = np.empty((self.resamples, self.count), dtype=np.uint8)
        for start in range(0, self.resamples, _DRAWN):
            rows = min(_DRAWN, self.resamples - start)
            drawn = random.integers(self.count, size=(rows, self.count))
            drawn += np.arange(rows)[:, None] * self.count  # each resample counts in places of its own
            counts = np.bincount(drawn.ravel(), minlength=rows * self.count)
            times[start : start + rows] = counts.reshape(rows, self.count)
        return times

    def times_of_images(self, resamples: int) -> NDArray[np.uint8]:
        """How often each image stands in the first `resamples`, `[image, resample]`."""
        return np.ascontiguousarray(self.times[:resamples].T)[self.clusters]

    def sums(self, table: Numbers, resamples: int | None = None) -> Numbers:
        """Column sums `[resample, column]` of `table` [image, column] over the images drawn; of the first resamples."""
        per_cluster = sums_by_label(self.clusters, np.asarray(table, dtype=np.float64), self.count)
        whole = (per_cluster % 1 == 0).all(axis=0) & (self.count * np.abs(per_cluster).max(axis=0, initial=0) < _EXACT)
        sums = np.empty((len(self.times[:resamples]), table.shape[1]))
        with threadpool_limits(1):  # small products: BLAS threads would spend more time waiting than working
            # Whole numbers have the same sums in float32, twice as fast.
            for columns, numbers in ((whole, np.float32), (~whole, np.float64)):
                if columns.any():
                    sums[:, columns] = self._products(per_cluster[:, columns].astype(numbers), resamples)
        return sums

    def _products(self, per_cluster: NDArray[T], resamples: int | None) -> NDArray[T]:
        times = self.times[:resamples]
        products = np.empty((len(times), per_cluster.shape[1]), dtype=per_cluster.dtype)
        for start in range(0, len(times), _MULTIPLIED):
            part = slice(start, start + _MULTIPLIED)
            products[part] = times[part].astype(per_cluster.dtype) @ per_cluster
        return products

    def means(self, table: Numbers, resamples: int | None = None) -> Numbers:
        """Column means `[resample, column]` of `table` [image, column], its NaN left out; NaN where nothing is left.

        `resamples` takes the first ones alone.
        """
        known = ~np.isnan(table)
        first, place = distinct_columns(known)  # columns that lack the same images share their sizes
        both = np.concatenate([known[:, first], np.where(known, table, 0.0)], axis=1)
        sizes, sums = np.split(self.sums(both, resamples), [len(first)], axis=1)
        sizes = sizes[:, place]
        return np.divide(sums, sizes, out=np.full(sizes.shape, np.nan), where=sizes > 0)


def distinct_columns(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The columns of `mask` that are like none before them, and which of these each column is like."""
    # Bits are sorted eight times as fast as truth values.
    _, first, place = np.unique(np.packbits(mask, axis=0), axis=1, return_index=True, return_inverse=True)
    return first, place.ravel()


def resampled_means(
    table: Numbers, clusters: NDArray[np.int64], *, seed: int = 0, resamples: int = RESAMPLES
) -> Numbers:
    """Means per question, `[resample, question]`, when whole clusters are drawn with replacement.

    Args:
        table: `[image, question]`, NaN where a question has no gold answer.
        clusters: `[image]`, as `clusters_of` numbers them.
    """
    return Draws(clusters, seed, resamples).means(table)


def mean_of_known(samples: Numbers) -> Numbers:
    """Mean over the last axis, NaN apart; NaN where there is nothing else."""
    known = ~np.isnan(samples)
    counts = known.sum(axis=-1)
    return np.divide(
        np.where(known, samples, 0.0).sum(axis=-1), counts, out=np.full(counts.shape, np.nan), where=counts > 0
    )


def intervals95(samples: Numbers) -> list[tuple[float, float]]:
    """The middle 95% of each column of `samples` [resample, column], NaN apart; NaN where there is nothing else."""
    known = ~np.isnan(samples)
    if known.all():
        return [(float(low), float(high)) for low, high in np.quantile(samples, _MIDDLE, axis=0).T]
    parts = [column[there] for column, there in zip(samples.T, known.T, strict=True)]
    limits = (np.quantile(part, _MIDDLE) if len(part) else (np.nan, np.nan) for part in parts)
    return [(float(low), float(high)) for low, high in limits]


def interval95(samples: Numbers) -> tuple[float, float]:
    """The middle 95% of `samples` [resample], NaN apart."""
    return intervals95(samples[:, None])[0]
