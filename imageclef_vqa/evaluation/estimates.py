"""Every figure of every question with its samples under the bootstrap, from which all intervals are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imageclef_vqa.evaluation.metrics import (
    CLASS_METRICS,
    Numbers,
    PairTable,
    class_counts,
    class_labels,
    macro_f1,
    matthews,
    mean_per_question,
    sums_by_label,
)
from imageclef_vqa.evaluation.uncertainty import Draws, intervals95, mean_of_known

# Of the draws, for the measures beside the first; and for what is no mean but needs the counts of some hundred classes.
_RESAMPLES_BESIDE = 2000
_CLASS_RESAMPLES = 1000
_DECIMALS = 6

Interval = tuple[float, float]
MEAN = -1  # where the mean of the questions stands: behind them


@dataclass(frozen=True)
class Estimates:
    """The figures of each question and, at `MEAN`, of the mean of the questions that have gold answers.

    `values[metric]` is `[question + 1]`, NaN where nothing is known; `intervals[metric]` is as long, or empty. A
    baseline that lacks a question has no mean. `clusters` is `[question + 1]`, those that hold a gold answer; of the
    mean, all that were drawn.
    """

    values: Mapping[str, Numbers]
    intervals: Mapping[str, Sequence[Interval]]
    clusters: Sequence[int]

    def of(self, question_id: int) -> dict[str, Any]:
        """The fields of `Figures` for one question, or for the mean: `MEAN`."""
        values = {name: values[question_id] for name, values in self.values.items()}
        figures = {name: None if np.isnan(value) else rounded(value) for name, value in values.items()}
        intervals = {
            name: each[question_id]
            if name == "mcc" and not figures[name]
            else share_interval(each[question_id], self.clusters[question_id])
            for name, each in self.intervals.items()
            if figures[name] is not None
        }
        baselines: dict[str, Any] = {"majority": None, "linear": None}
        return baselines | figures | {"interval": intervals.get("exact_set"), "intervals": intervals}


def estimate(tables: Mapping[str, Numbers], pairs: PairTable, draws: Draws | None) -> Estimates:
    """Means of `tables` (by metric, `[image, question]`) and what is counted over the classes of `pairs`.

    Without `draws` there are no samples. The first table has all of them, the others the first 2,000, macro-F1 and MCC
    the first 1,000.
    """
    values = {name: mean_per_question(table) for name, table in tables.items()}
    samples: dict[str, Numbers] = {}
    questions = next(iter(tables.values())).shape[1]
    if draws is not None:
        first, *others = tables
        samples[first] = draws.means(tables[first])
        beside = draws.means(np.concatenate([tables[name] for name in others], axis=1), _RESAMPLES_BESIDE)
        samples |= dict(zip(others, np.split(beside, len(others), axis=1), strict=True))
    drawn = np.ones((len(pairs.image_ids), 1), dtype=np.uint8)  # each image once, then as often as it was drawn
    if draws is not None:
        drawn = np.concatenate([drawn, draws.times_of_images(_CLASS_RESAMPLES)], axis=1)
    # The narrowest numbers that hold what is gold and what is given, added: narrow ones are summed faster.
    drawn = drawn.astype(np.min_scalar_type(2 * int(drawn.sum(axis=0).max())))
    measured = {name: np.full((drawn.shape[1], questions), np.nan) for name in CLASS_METRICS}
    for question_id, (couples, codes, rows) in pairs.by_question.items():
        labels = class_labels(*zip(*couples, strict=True))
        counts = class_counts(*labels, sums_by_label(codes, drawn, len(couples), rows))
        measured["macro_f1"][:, question_id], measured["mcc"][:, question_id] = macro_f1(counts), matthews(counts)
    values |= {name: measured[name][0] for name in CLASS_METRICS}
    clusters = []
    if draws is not None:
        for name, least in (("macro_f1", 0.0), ("mcc", -1.0)):
            samples[name] = _centred(measured[name][1:], values[name], least)
        known = ~np.isnan(tables["exact_set"])
        clusters = [len(np.unique(draws.clusters[own])) for own in known.T] + [draws.count]
    asked = list(pairs.by_question)
    return Estimates(
        {name: np.append(each, each[asked].mean()) for name, each in values.items()},
        {name: intervals_with_mean(each, asked) for name, each in samples.items()},
        clusters,
    )


def _centred(samples: Numbers, values: Numbers, least: float) -> Numbers:
    """Samples without the bias of the bootstrap: a resample lacks rare classes, which are the hard ones."""
    return np.clip(samples + values - mean_of_known(samples.T), least, 1.0)


def rounded(value: float) -> float:
    return round(float(value), _DECIMALS)


def interval_of(samples: Numbers) -> Interval:
    """The middle 95% of samples of one figure, NaN apart."""
    return intervals_of(samples[:, None])[0]


def intervals_of(samples: Numbers) -> list[Interval]:
    """The same for each column of `[resample, figure]`."""
    return [(rounded(low), rounded(high)) for low, high in intervals95(samples)]


def intervals_with_mean(samples: Numbers, asked: Sequence[int]) -> list[Interval]:
    """Those of each question of `[resample, question]` and, at `MEAN`, of the mean of the questions `asked`."""
    return intervals_of(np.column_stack([samples, mean_of_known(samples[:, asked])]))


def share_interval(interval: Interval, clusters: int) -> Interval:
    """The interval of a share of `clusters` that were drawn, 0 to 1, which no sample can be wrong about.

    Where all is right, or nothing, resamples of it know no other case: there the rule of three holds, that what was
    never seen in n draws is rarer than 3 / n (Hanley and Lippman-Hand 1983).
    """
    low, high = interval
    unseen = rounded(min(1.0, 3 / clusters))
    return (rounded(1.0 - unseen), high) if low == 1.0 else (low, unseen) if high == 0.0 else (low, high)
