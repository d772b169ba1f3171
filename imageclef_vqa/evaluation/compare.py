"""Sets of answers to the same images, side by side: paired differences, and whether they are more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.evaluation.estimates import MEAN, Interval, intervals_with_mean, rounded
from imageclef_vqa.evaluation.metrics import Numbers, PairAnswers, mean_per_question, tabulate
from imageclef_vqa.evaluation.uncertainty import RESAMPLES, Draws, clusters_of
from imageclef_vqa.statistics import holm


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Difference(_Frozen):
    """Exact-set accuracy of one set of answers beside the baseline's, with the clustered 95% interval of the gain."""

    exact_set: float
    baseline: float
    difference: float
    interval: Interval | None


class QuestionDifference(Difference):
    """One question over `n` images; `gained` are right here alone, `lost` in the baseline alone.

    `p` is McNemar's exact test, two-sided, which takes images as independent; `p_holm` is corrected for all questions
    compared (Holm 1979).
    """

    id: int
    question: str
    n: int
    gained: int
    lost: int
    p: float
    p_holm: float


class Comparison(_Frozen):
    """One set of answers against the baseline; `missing` gold pairs count as wrong."""

    name: str
    overall: Difference = Field(serialization_alias="global")
    questions: tuple[QuestionDifference, ...]
    missing: int


class Comparisons(_Frozen):
    """All that is compared with the answers called `baseline`, on the same gold answers."""

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
    """Compare each of `named` with the first; `groups` as in `score_answers`.

    Raises:
        MedvqaError: there is no gold answer at all.
    """
    if not gold:
        raise MedvqaError("there are no gold answers to compare by", remedy="check that gt.json holds Labels")
    (baseline, first), *rest = named
    table = tabulate(first, gold)
    right = table.of("exact_set")
    draws = Draws(clusters_of(table.image_ids, groups), seed, resamples)
    return Comparisons(
        baseline=baseline,
        baseline_missing=_missing(first, gold),
        comparisons=tuple(
            _comparison(name, given, right, gold, draws if draws.count > 1 else None) for name, given in rest
        ),
        images=len(table.image_ids),
        clusters=None if groups is None else draws.count,
        resamples=resamples,
    )


def _comparison(name: str, given: PairAnswers, base: Numbers, gold: PairAnswers, draws: Draws | None) -> Comparison:
    mine = tabulate(given, gold).of("exact_set")
    asked = np.flatnonzero(~np.isnan(base).all(axis=0))
    own, others = mean_per_question(mine), mean_per_question(base)
    intervals: Sequence[Interval | None] = [None] * (len(QUESTIONS) + 1)
    if draws is not None:
        intervals = intervals_with_mean(draws.means(mine - base), asked.tolist())
    gained, lost = (mine > base).sum(axis=0), (mine < base).sum(axis=0)
    p = {question: mcnemar(int(gained[question]), int(lost[question])) for question in asked.tolist()}
    corrected = holm(p)
    return Comparison(
        name=name,
        overall=Difference(
            exact_set=rounded(own[asked].mean()),
            baseline=rounded(others[asked].mean()),
            difference=rounded((own - others)[asked].mean()),
            interval=intervals[MEAN],
        ),
        questions=tuple(
            QuestionDifference(
                exact_set=rounded(own[question]),
                baseline=rounded(others[question]),
                difference=rounded(own[question] - others[question]),
                interval=intervals[question],
                id=question,
                question=QUESTIONS[question].text,
                n=int((~np.isnan(base[:, question])).sum()),
                gained=int(gained[question]),
                lost=int(lost[question]),
                p=p[question],
                p_holm=corrected[question],
            )
            for question in p
        ),
        missing=_missing(given, gold),
    )


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p of McNemar's test: that a fair coin parts the pairs which changed as unevenly as this."""
    changed = gained + lost
    ways = tail = 1  # of none, then of at most k of the pairs to go the rarer way; whole numbers, so nothing is rounded
    for k in range(min(gained, lost)):
        ways = ways * (changed - k) // (k + 1)
        tail += ways
    return min(1.0, float(2 * tail / 2**changed))


def _missing(given: PairAnswers, gold: PairAnswers) -> int:
    return sum(pair not in given for pair in gold)
