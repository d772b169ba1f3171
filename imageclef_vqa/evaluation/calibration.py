"""Calibration: whether answers with a probability of 0.8 are right in 80% of cases (Guo et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from imageclef_vqa.evaluation.estimates import Interval, interval_of, share_interval
from imageclef_vqa.evaluation.metrics import PairAnswers, members, ratio
from imageclef_vqa.evaluation.uncertainty import Bootstrap, clusters_of
from imageclef_vqa.statistics import confidence_bins, expected_calibration_error

_RESAMPLES = 1000


@dataclass(frozen=True)
class Bin:
    """Answers of similar probability: the mean probability, the accuracy with its 95% interval, and their number."""

    confidence: float
    accuracy: float
    interval: Interval | None
    pairs: int


@dataclass(frozen=True)
class Calibration:
    """The bins in order of confidence; `error` is the expected calibration error, which always uses ten bins."""

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
    """The calibration of all answers that have a gold answer and a probability; None if there are none.

    `groups` are near-duplicates, as in `score_answers`. With `resamples=0` there are no intervals.
    """
    pairs = [pair for pair in gold if pair in given and pair in probabilities]
    if not pairs:
        return None
    confidence = np.array([probabilities[pair] for pair in pairs])
    correct = np.array([members(given[pair]) == members(gold[pair]) for pair in pairs])
    row_of = {image_id: row for row, image_id in enumerate(dict.fromkeys(image_id for image_id, _ in pairs))}
    rows = np.array([row_of[image_id] for image_id, _ in pairs])
    bootstrap = Bootstrap(clusters_of(list(row_of), groups), resamples=resamples)
    bin_of = confidence_bins(confidence, bins)
    found = []
    for number in range(bin_of.max() + 1):
        own, interval = bin_of == number, None
        if resamples and bootstrap.num_clusters > 1:
            hits, sizes = np.zeros((2, len(row_of), 1))
            np.add.at(hits[:, 0], rows[own], correct[own])
            np.add.at(sizes[:, 0], rows[own], 1.0)
            samples = ratio(bootstrap.sums(hits), bootstrap.sums(sizes))[:, 0]
            interval = share_interval(interval_of(samples), len(np.unique(rows[own])))
        found.append(Bin(float(confidence[own].mean()), float(correct[own].mean()), interval, int(own.sum())))
    return Calibration(tuple(found), expected_calibration_error(confidence, correct))
