"""Paired comparison of several sets of answers to the same open questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.evaluation.compare import mcnemar
from imageclef_vqa.evaluation.estimates import Interval, interval_of, rounded
from imageclef_vqa.evaluation.metrics import PairAnswers
from imageclef_vqa.evaluation.text.metrics import (
    TEXT_METRICS,
    TextMeter,
    TextTable,
    metrics_of,
    same_sentence,
    sentence,
    tabulate_text,
)
from imageclef_vqa.evaluation.text.scores import RESAMPLES, Questions, resampled
from imageclef_vqa.evaluation.uncertainty import Bootstrap, clusters_of
from imageclef_vqa.statistics import holm


class TextDifference(BaseModel):
    """One metric of a system and of the baseline, and their difference with its clustered 95% interval."""

    model_config = ConfigDict(frozen=True)

    value: float
    baseline: float
    difference: float
    interval: Interval | None


class ClassDifference(BaseModel):
    """Exact match over the `n` rows of a class: `gained` only by this system, `lost` only by the baseline.

    `p` is from McNemar's exact test, which assumes independent rows; `p_holm` is corrected for all classes.
    """

    model_config = ConfigDict(frozen=True)

    n: int
    gained: int
    lost: int
    p: float
    p_holm: float


class TextComparison(BaseModel):
    """One system compared with the baseline; its `missing` gold rows count as empty answers."""

    model_config = ConfigDict(frozen=True)

    name: str
    overall: dict[str, TextDifference] = Field(serialization_alias="global")
    classes: dict[str, ClassDifference]
    missing: int


class TextComparisons(BaseModel):
    """All systems that are compared with `baseline` on the same gold answers."""

    model_config = ConfigDict(frozen=True)

    baseline: str
    baseline_missing: int
    comparisons: tuple[TextComparison, ...]
    images: int
    clusters: int | None
    resamples: int
    synonyms: bool


def compare_sentences(
    named: Sequence[tuple[str, PairAnswers]],
    gold: PairAnswers,
    questions: Questions,
    *,
    groups: Mapping[str, int] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> TextComparisons:
    """Compare each system of `named` (name, answers) with the first one; `groups` as in `score_sentences`.

    Raises:
        MedvqaError: there are no gold answers.
    """
    if not gold:
        raise MedvqaError("there are no gold answers to compare by", remedy="check that qa.jsonl holds answers")
    (baseline, first), *others = named
    meter = TextMeter()
    base = tabulate_text(first, gold, meter)
    bootstrap = Bootstrap(clusters_of(base.image_ids, groups), seed, resamples)
    usable = bootstrap if bootstrap.num_clusters > 1 else None
    return TextComparisons(
        baseline=baseline,
        baseline_missing=_missing(first, gold),
        comparisons=tuple(
            TextComparison(
                name=name,
                overall=_differences(tabulate_text(given, gold, meter), base, usable),
                classes=_classes(given, first, gold, questions),
                missing=_missing(given, gold),
            )
            for name, given in others
        ),
        images=len(base.image_ids),
        clusters=None if groups is None else bootstrap.num_clusters,
        resamples=resamples,
        synonyms=meter.synonyms,
    )


def _differences(own: TextTable, base: TextTable, bootstrap: Bootstrap | None) -> dict[str, TextDifference]:
    ours, theirs = own.by_image(), base.by_image()
    now, then = (metrics_of(sums.sum(axis=0)[None]) for sums in (ours, theirs))
    samples = None if bootstrap is None else (resampled(ours, bootstrap), resampled(theirs, bootstrap))
    differences = {}
    for name in TEXT_METRICS:
        value, before = float(now[name][0]), float(then[name][0])
        if np.isnan(value) or np.isnan(before):
            continue
        differences[name] = TextDifference(
            value=rounded(value),
            baseline=rounded(before),
            difference=rounded(value - before),
            interval=None if samples is None else interval_of(samples[0][name] - samples[1][name]),
        )
    return differences


def _classes(
    given: PairAnswers, first: PairAnswers, gold: PairAnswers, questions: Questions
) -> dict[str, ClassDifference]:
    counts: dict[str, list[int]] = {}
    for pair, answers in gold.items():
        right, before = (same_sentence(sentence(each.get(pair, ())), sentence(answers)) for each in (given, first))
        for name in questions[pair].classes if pair in questions else ():
            count = counts.setdefault(name, [0, 0, 0])
            count[0] += 1
            count[1] += right and not before
            count[2] += before and not right
    p = {name: mcnemar(gained, lost) for name, (_, gained, lost) in counts.items()}
    p_holm = holm(p)
    return {
        name: ClassDifference(n=n, gained=gained, lost=lost, p=p[name], p_holm=p_holm[name])
        for name, (n, gained, lost) in sorted(counts.items())
    }


def _missing(given: PairAnswers, gold: PairAnswers) -> int:
    return sum(pair not in given for pair in gold)
