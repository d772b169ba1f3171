"""Every figure of every question with its samples under the bootstrap, from which all intervals are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imageclef_vqa.evaluation.metrics import (
    CLASS_METRICS,
    Answers,
    Labels,
    Numbers,
    class_counts,
    class_labels,
    macro_f1,
    matthews,
    mean_per_question,
)
from imageclef_vqa.evaluation.uncertainty import Draws, interval95, mean_of_known

# Of the draws, for the measures beside the first; and for what is no mean but needs the counts of some hundred classes.
_RESAMPLES_BESIDE = 2000
_CLASS_RESAMPLES = 1000
_DECIMALS = 6

Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimates:
    """`values[metric]` is `[question]`, `samples[metric]` is `[resample, question]`; NaN where nothing is known.

    `clusters` is `[question]`, the clusters that hold a gold answer; `drawn`, all of them.
    """

    values: Mapping[str, Numbers]
    samples: Mapping[str, Numbers]
    clusters: Labels
    drawn: int

    def of(self, question_id: int) -> dict[str, Any]:
        """The fields of `Figures` for one question."""
        return self._fields(
            {name: values[question_id] for name, values in self.values.items()},
            {name: samples[:, question_id] for name, samples in self.samples.items()},
            int(self.clusters[question_id]),
        )

    def overall(self, asked: Sequence[int]) -> dict[str, Any]:
        """The fields of `Figures` for the mean of the questions `asked`; a baseline that lacks one of them has none."""
        return self._fields(
            {name: values[asked].mean() for name, values in self.values.items()},
            {name: mean_of_known(samples[:, asked]) for name, samples in self.samples.items()},
            self.drawn,
        )

    def _fields(self, values: Mapping[str, float], samples: Mapping[str, Numbers], clusters: int) -> dict[str, Any]:
        figures = {name: None if np.isnan(value) else rounded(value) for name, value in values.items()}
        known = {name: drawn for name, drawn in samples.items() if figures[name] is not None}
        intervals = {
            name: interval_of(drawn) if name == "mcc" and not figures[name] else share_interval(drawn, clusters)
            for name, drawn in known.items()
        }
        baselines: dict[str, Any] = {"majority": None, "linear": None}
        return baselines | figures | {"interval": intervals.get("exact_set"), "intervals": intervals}


def estimate(
    tables: Mapping[str, Numbers],
    pairs: Mapping[int, Sequence[tuple[Answers, Answers]]],
    rows: Mapping[int, Sequence[int]],
    draws: Draws | None,
) -> Estimates:
    """Means of `tables` (by metric, `[image, question]`) and what is counted over the classes of `pairs`.

    `pairs` holds (given, gold) by question, `rows` the image of each; without `draws` there are no samples. The first
    table has all of them, the others the first 2,000, macro-F1 and MCC the first 1,000.
    """
    values = {name: mean_per_question(table) for name, table in tables.items()}
    samples: dict[str, Numbers] = {}
    questions = next(iter(tables.values())).shape[1]
    if draws is not None:
        first, *others = tables
        samples[first] = draws.means(tables[first])
        drawn = draws.means(np.concatenate([tables[name] for name in others], axis=1), _RESAMPLES_BESIDE)
        samples |= dict(zip(others, np.split(drawn, len(others), axis=1), strict=True))
    for name in CLASS_METRICS:
        values[name] = np.full(questions, np.nan)
        if draws is not None:
            samples[name] = np.full((min(_CLASS_RESAMPLES, draws.resamples), questions), np.nan)
    weights = None if draws is None else draws.times_of_images(_CLASS_RESAMPLES)
    for question_id, answers in pairs.items():
        given, gold = class_labels([given for given, _ in answers], [gold for _, gold in answers])
        images = np.array(rows[question_id])
        counts = class_counts(given, gold, np.ones((images.max() + 1, 1)), images)
        values["macro_f1"][question_id], values["mcc"][question_id] = macro_f1(counts)[0], matthews(counts)[0]
        if weights is not None:
            counts = class_counts(given, gold, weights, images)
            for name, measure in (("macro_f1", macro_f1), ("mcc", matthews)):
                least = -1.0 if name == "mcc" else 0.0
                samples[name][:, question_id] = _centred(measure(counts), values[name][question_id], least)
    if draws is None:
        return Estimates(values, samples, np.zeros(questions, dtype=np.int64), 0)
    known = ~np.isnan(next(iter(tables.values())))
    clusters = [len(np.unique(draws.clusters[known[:, question]])) for question in range(questions)]
    return Estimates(values, samples, np.array(clusters), draws.count)


def _centred(samples: Numbers, value: float, least: float) -> Numbers:
    """Samples without the bias of the bootstrap: a resample lacks rare classes, which are the hard ones."""
    return np.clip(samples + value - mean_of_known(samples), least, 1.0)


def rounded(value: float) -> float:
    return round(float(value), _DECIMALS)


def interval_of(samples: Numbers) -> Interval:
    """The middle 95% of samples of one figure, NaN apart."""
    low, high = interval95(samples)
    return rounded(low), rounded(high)


def share_interval(samples: Numbers, clusters: int) -> Interval:
    """`interval_of` for a share of `clusters` that were drawn, 0 to 1, which no sample can be wrong about.

    Where all is right, or nothing, resamples of it know no other case: there the rule of three holds, that what was
    never seen in n draws is rarer than 3 / n (Hanley and Lippman-Hand 1983).
    """
    low, high = interval_of(samples)
    unseen = rounded(min(1.0, 3 / clusters))
    return (rounded(1.0 - unseen), high) if low == 1.0 else (low, unseen) if high == 0.0 else (low, high)
