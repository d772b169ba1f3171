"""Paired comparison of several sets of answers to the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.evaluation.estimates import MEAN, Interval, intervals_with_mean, rounded
from imageclef_vqa.evaluation.metrics import Numbers, PairAnswers, mean_per_question, tabulate
from imageclef_vqa.evaluation.uncertainty import RESAMPLES, Bootstrap, clusters_of
from imageclef_vqa.statistics import holm


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Difference(_Frozen):
    """Exact-set accuracy of a system and of the baseline, and their difference with its clustered 95% interval."""

    exact_set: float
    baseline: float
    difference: float
    interval: Interval | None


class QuestionDifference(Difference):
    """One question over `n` images: `gained` are right only in this system, `lost` only in the baseline.

    `p` is from McNemar's exact two-sided test, which assumes independent images; `p_holm` is corrected for all
    compared questions (Holm 1979).
    """

    id: int
    question: str
    n: int
    gained: int
    lost: int
    p: float
    p_holm: float


class Comparison(_Frozen):
    """One system compared with the baseline; its `missing` gold pairs count as wrong."""

    name: str
    overall: Difference = Field(serialization_alias="global")
    questions: tuple[QuestionDifference, ...]
    missing: int


class Comparisons(_Frozen):
    """All systems that are compared with `baseline` on the same gold answers."""

    baseline: str
    baseline_missing: int
    comparisons: tuple[Comparison, ...]
    images: int
    clusters: int | None
    resamples: int


def compare_answers(
    named: Sequence[tuple[str, PairAnswers]],
    gold: PairAnswers,
    *,
    groups: Mapping[str, int] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Comparisons:
    """Compare each system of `named` (name, answers) with the first one; `groups` as in `score_answers`.

    Raises:
        MedvqaError: there are no gold answers.
    """
    if not gold:
        raise MedvqaError("there are no gold answers to compare by", remedy="check that gt.json holds Labels")
    (baseline, first), *others = named
    pairs = tabulate(first, gold)
    right = pairs.of("exact_set")
    bootstrap = Bootstrap(clusters_of(pairs.image_ids, groups), seed, resamples)
    usable = bootstrap if bootstrap.num_clusters > 1 else None
    return Comparisons(
        baseline=baseline,
        baseline_missing=_missing(first, gold),
        comparisons=tuple(_comparison(name, given, right, gold, usable) for name, given in others),
        images=len(pairs.image_ids),
        clusters=None if groups is None else bootstrap.num_clusters,
        resamples=resamples,
    )


def _comparison(
    name: str, given: PairAnswers, base: Numbers, gold: PairAnswers, bootstrap: Bootstrap | None
) -> Comparison:
    right = tabulate(given, gold).of("exact_set")
    asked = np.flatnonzero(~np.isnan(base).all(axis=0)).tolist()
    intervals: Sequence[Interval | None] = [None] * (len(QUESTIONS) + 1)
    if bootstrap is not None:
        intervals = intervals_with_mean(bootstrap.means(right - base), asked)
    accuracy, baseline = (np.append(each, each[asked].mean()) for each in map(mean_per_question, (right, base)))
    gained, lost = (right > base).sum(axis=0).tolist(), (right < base).sum(axis=0).tolist()
    p = {question: mcnemar(gained[question], lost[question]) for question in asked}
    p_holm = holm(p)

    def difference(index: int) -> dict[str, Any]:
        return {
            "exact_set": rounded(accuracy[index]),
            "baseline": rounded(baseline[index]),
            "difference": rounded(accuracy[index] - baseline[index]),
            "interval": intervals[index],
        }

    return Comparison(
        name=name,
        overall=Difference(**difference(MEAN)),
        questions=tuple(
            QuestionDifference(
                **difference(question),
                id=question,
                question=QUESTIONS[question].text,
                n=int((~np.isnan(base[:, question])).sum()),
                gained=gained[question],
                lost=lost[question],
                p=p[question],
                p_holm=p_holm[question],
            )
            for question in asked
        ),
        missing=_missing(given, gold),
    )


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p-value of McNemar's test: of a fair coin splitting the changed pairs at least this unevenly."""
    changed = gained + lost
    ways = tail = 1  # binomial coefficient and their sum, as exact integers
    for k in range(min(gained, lost)):
        ways = ways * (changed - k) // (k + 1)
        tail += ways
    return min(1.0, float(2 * tail / 2**changed))


def _missing(given: PairAnswers, gold: PairAnswers) -> int:
    return sum(pair not in given for pair in gold)
