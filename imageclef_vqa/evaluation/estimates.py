"""Values of all metrics with their 95% intervals."""

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
    mean_of_known,
    mean_per_question,
    sums_by_label,
)
from imageclef_vqa.evaluation.proportions import share_intervals
from imageclef_vqa.evaluation.uncertainty import Bootstrap, interval95

# The official metric uses all resamples. The others use fewer, which saves seconds.
_OTHER_RESAMPLES = 2000
_CLASS_RESAMPLES = 1000
_DECIMALS = 6

Interval = tuple[float, float]
MEAN = -1  # index of the mean of the questions, after the questions themselves


@dataclass(frozen=True)
class Estimates:
    """Values of each question and, at index `MEAN`, of the mean of the questions that have gold answers.

    `values[metric]` is `[question + 1]`, NaN where nothing is known; `intervals[metric]` has the same length, or is
    missing without a bootstrap. A baseline that lacks a question has no mean. `clusters` is `[question + 1]`: the
    number of clusters with a gold answer.
    """

    values: Mapping[str, Numbers]
    intervals: Mapping[str, Sequence[Interval]]
    clusters: Sequence[int]

    def of(self, index: int) -> dict[str, Any]:
        """The fields of `MetricValues` for one question, or for the mean with index `MEAN`."""
        values = {name: values[index] for name, values in self.values.items()}
        known = {name: None if np.isnan(value) else rounded(value) for name, value in values.items()}
        intervals = {
            # 0 is not the least value of a correlation, so the rule of three does not apply there.
            name: each[index]
            if name == "mcc" and not known[name]
            else share_interval(each[index], self.clusters[index])
            for name, each in self.intervals.items()
            if known[name] is not None
        }
        baselines: dict[str, Any] = {"majority": None, "classical": None}
        return baselines | known | {"interval": intervals.get("exact_set"), "intervals": intervals}


def estimate(tables: Mapping[str, Numbers], pairs: PairTable, bootstrap: Bootstrap | None) -> Estimates:
    """Estimate the means of `tables` (by metric, `[image, question]`), macro-F1 and MCC.

    The intervals of shares are Wilson's for questions, and the bootstrap's for their mean. The first table uses all
    resamples, the others the first 2,000, macro-F1 and MCC the first 1,000.
    """
    asked = list(pairs.by_question)
    class_samples = _class_samples(pairs, bootstrap, next(iter(tables.values())).shape[1])
    values = {name: mean_per_question(table) for name, table in tables.items()}
    values |= {name: samples[0] for name, samples in class_samples.items()}
    intervals: dict[str, Sequence[Interval]] = {}
    clusters: list[int] = []
    if bootstrap is not None:
        for index, (name, table) in enumerate(tables.items()):
            means = mean_of_known(bootstrap.means(table[:, asked], _OTHER_RESAMPLES if index else None))
            of_questions = [(rounded(low), rounded(high)) for low, high in share_intervals(table, bootstrap.clusters)]
            intervals[name] = [*of_questions, interval_of(means)]
        for name, least in (("macro_f1", 0.0), ("mcc", -1.0)):
            shifted = _without_bias(class_samples[name][1:], values[name], least)
            intervals[name] = intervals_with_mean(shifted, asked)
        known = ~np.isnan(tables["exact_set"])
        clusters = [len(np.unique(bootstrap.clusters[own])) for own in known.T] + [bootstrap.num_clusters]
    return Estimates({name: np.append(each, each[asked].mean()) for name, each in values.items()}, intervals, clusters)


def _class_samples(pairs: PairTable, bootstrap: Bootstrap | None, questions: int) -> dict[str, Numbers]:
    """Macro-F1 and MCC, `[1 + resample, question]`: of the images themselves, then of the resamples."""
    images = len(pairs.image_ids)
    clusters, draws = np.arange(images), np.ones((1, images))  # the images themselves
    if bootstrap is not None:
        clusters, drawn = bootstrap.clusters, bootstrap.counts[:_CLASS_RESAMPLES]
        draws = np.concatenate([np.ones((1, bootstrap.num_clusters)), drawn])
    samples = {name: np.full((len(draws), questions), np.nan) for name in CLASS_METRICS}
    per_cluster = np.ascontiguousarray(draws.T)
    for question_id, (outcomes, outcome_of_pair, rows) in pairs.by_question.items():
        weights = sums_by_label(per_cluster, outcome_of_pair, len(outcomes), clusters[rows])
        counts = class_counts(*class_labels(*zip(*outcomes, strict=True)), weights)
        samples["macro_f1"][:, question_id], samples["mcc"][:, question_id] = macro_f1(counts), matthews(counts)
    return samples


def _without_bias(samples: Numbers, values: Numbers, least: float) -> Numbers:
    """Samples shifted to the mean `values`: resamples lack some rare classes, which are the difficult ones."""
    return np.clip(samples + values - mean_of_known(samples, axis=0), least, 1.0)


def rounded(value: float) -> float:
    return round(float(value), _DECIMALS)


def interval_of(samples: Numbers) -> Interval:
    """The middle 95% of `samples` [resample] without NaN, rounded."""
    low, high = interval95(samples)
    return rounded(low), rounded(high)


def intervals_with_mean(samples: Numbers, asked: Sequence[int]) -> list[Interval]:
    """Intervals of `samples` [resample, question] by question and, at `MEAN`, of the mean of the questions `asked`."""
    return [interval_of(column) for column in (*samples.T, mean_of_known(samples[:, asked]))]


def share_interval(interval: Interval, clusters: int) -> Interval:
    """The interval of a share, 0 to 1, of `clusters`; one of no width at 0 or 1 is widened by the rule of three.

    Resamples of a sample without mistakes have none either. An event not seen in n clusters has a rate below 3 / n
    with 95% confidence (Hanley and Lippman-Hand 1983).
    """
    low, high = interval
    unseen = rounded(min(1.0, 3 / clusters))
    return (rounded(1.0 - unseen), high) if low == 1.0 else (low, unseen) if high == 0.0 else (low, high)
