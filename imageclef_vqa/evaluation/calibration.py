"""Whether answers given with a probability of 0.8 are right eight times of ten (Guo et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from imageclef_vqa.evaluation.estimates import Interval, interval_of, share_interval
from imageclef_vqa.evaluation.metrics import PairAnswers, members
from imageclef_vqa.evaluation.uncertainty import Draws, clusters_of

_RESAMPLES = 1000


@dataclass(frozen=True)
class Bin:
    """Answers of like probability: their mean probability, the share that is right, and its 95% interval."""

    confidence: float
    accuracy: float
    interval: Interval | None
    pairs: int


@dataclass(frozen=True)
class Calibration:
    """Bins of about as many answers each, the least sure first.

    `error` is the expected calibration error: the mean distance of the two, weighted by pairs.
    """

    bins: tuple[Bin, ...]
    error: float


def calibrate(
    given: PairAnswers,
    gold: PairAnswers,
    probabilities: Mapping[tuple[str, int], float],
    groups: Mapping[str, int] | None,
    bins: int = 10,
    resamples: int = _RESAMPLES,
) -> Calibration | None:
    """The calibration of the answers that have a gold answer and a probability; None if there are none.

    Without `resamples` there are no intervals.
    """
    pairs = [pair for pair in gold if pair in given and pair in probabilities]
    if not pairs:
        return None
    confidence = np.array([probabilities[pair] for pair in pairs])
    right = np.array([members(given[pair]) == members(gold[pair]) for pair in pairs], dtype=np.float64)
    row_of = {image_id: row for row, image_id in enumerate(dict.fromkeys(image_id for image_id, _ in pairs))}
    rows = np.array([row_of[image_id] for image_id, _ in pairs])
    draws = Draws(clusters_of(list(row_of), groups), resamples=resamples)
    parts = [part for part in np.array_split(np.argsort(confidence, kind="stable"), bins) if len(part)]
    hits, sizes = np.zeros((len(row_of), len(parts))), np.zeros((len(row_of), len(parts)))
    for column, part in enumerate(parts):
        np.add.at(hits[:, column], rows[part], right[part])
        np.add.at(sizes[:, column], rows[part], 1.0)
    drawn, drawn_sizes = draws.sums(hits), draws.sums(sizes)
    samples = np.divide(drawn, drawn_sizes, out=np.full(drawn.shape, np.nan), where=drawn_sizes > 0)
    found = tuple(
        Bin(
            confidence=float(confidence[part].mean()),
            accuracy=float(right[part].mean()),
            interval=share_interval(interval_of(samples[:, column]), int((sizes[:, column] > 0).sum()))
            if resamples and draws.count > 1
            else None,
            pairs=len(part),
        )
        for column, part in enumerate(parts)
    )
    error = sum(each.pairs * abs(each.accuracy - each.confidence) for each in found) / len(pairs)
    return Calibration(found, error)
