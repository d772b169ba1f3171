"""The score of one set of answers: global, per question, with intervals and with what its form costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.evaluation.form import FormCost, form_costs
from imageclef_vqa.evaluation.metrics import (
    PAIR_METRICS,
    Answers,
    Numbers,
    PairAnswers,
    confusion,
    macro_f1,
    matthews,
    mean_per_question,
    tabulate,
)
from imageclef_vqa.evaluation.uncertainty import RESAMPLES, clusters_of, interval95, resampled_means
from imageclef_vqa.task import QUESTIONS

_DECIMALS = 6


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Figures(_Frozen):
    """All figures of one question or, as plain means over the questions that have gold answers, of all.

    `interval` is that of `exact_set`, 95%; None where all images are one cluster.
    """

    exact_set: float
    interval: tuple[float, float] | None
    exact_ordered: float
    folded_set: float
    first_answer: float
    precision: float
    recall: float
    f1: float
    macro_f1: float
    mcc: float


class _Asked(_Frozen):
    id: int
    question: str
    n: int
    majority: float | None


class QuestionScore(Figures, _Asked):
    """The figures of one question over `n` images; `majority` is the exact-set accuracy of the commonest answer."""


class GlobalScore(Figures):
    """Plain means over the questions; `form_cost` is how much `exact_set` the answers' form takes away, at most."""

    majority: float | None
    form_cost: float


class Score(_Frozen):
    """Everything said about one set of answers.

    `missing` gold pairs count as wrong, `extra` pairs are ignored. `clusters` is the number of near-duplicate groups
    that the bootstrap drew; None where none are known and it drew images.
    """

    overall: GlobalScore = Field(serialization_alias="global")
    questions: tuple[QuestionScore, ...]
    form: tuple[FormCost, ...]
    images: int
    clusters: int | None
    resamples: int
    missing: int
    extra: int

    def question(self, question_id: int) -> QuestionScore | None:
        """The score of one question; None if it has no gold answers."""
        return next((score for score in self.questions if score.id == question_id), None)


class FoldScore(Score):
    """One fold: the score of its final answers, and of BLIP-2 alone where routing came after it."""

    answered_by: str
    blip2: Score | None = None


def score_answers(
    given: PairAnswers,
    gold: PairAnswers,
    *,
    majority: Sequence[Answers] | None = None,
    groups: Mapping[str, int] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Score:
    """Score `given` against `gold`.

    Args:
        majority: the commonest training answer of each of the 18 questions, for the baseline.
        groups: image id → near-duplicate group, which the bootstrap draws as one.

    Raises:
        MedvqaError: there is no gold answer at all.
    """
    if not gold:
        raise MedvqaError("there are no gold answers to score against", remedy="check that gt.json holds Labels")
    table = tabulate(given, gold)
    means = np.stack([mean_per_question(values) for values in table.values])  # [metric, question]
    clusters = clusters_of(table.image_ids, groups)
    samples = None
    if clusters.max() > 0:
        samples = resampled_means(table.of("exact_set"), clusters, seed=seed, resamples=resamples)
    asked = [question.id for question in QUESTIONS if not np.isnan(means[0, question.id])]
    pairs: dict[int, list[tuple[Answers, Answers]]] = {question_id: [] for question_id in asked}
    for pair, answers in gold.items():
        pairs[pair[1]].append((tuple(given.get(pair, ())), tuple(answers)))
    baseline = None
    if majority is not None:
        baseline = mean_per_question(tabulate({pair: majority[pair[1]] for pair in gold}, gold).of("exact_set"))
    questions = tuple(
        QuestionScore(
            id=question_id,
            question=QUESTIONS[question_id].text,
            n=len(pairs[question_id]),
            majority=None if baseline is None else _rounded(baseline[question_id]),
            interval=None if samples is None else _interval(samples[:, question_id]),
            **_pair_metrics(means[:, question_id]),
            **_class_metrics(pairs[question_id]),
        )
        for question_id in asked
    )
    form = tuple(cost for question_id in asked for cost in form_costs(question_id, pairs[question_id]))
    overall = GlobalScore(
        majority=None if baseline is None else _rounded(baseline[asked].mean()),
        interval=None if samples is None else _interval(np.nanmean(samples[:, asked], axis=1)),
        form_cost=_rounded(sum(cost.points for cost in form) / len(asked)),
        **_pair_metrics(means[:, asked].mean(axis=1)),
        macro_f1=_rounded(sum(score.macro_f1 for score in questions) / len(asked)),
        mcc=_rounded(sum(score.mcc for score in questions) / len(asked)),
    )
    return Score(
        overall=overall,
        questions=questions,
        form=tuple(sorted(form, key=lambda cost: -cost.points)),
        images=len(table.image_ids),
        clusters=None if groups is None else int(clusters.max()) + 1,
        resamples=resamples,
        missing=sum(pair not in given for pair in gold),
        extra=sum(pair not in gold for pair in given),
    )


def score_fold(
    answered_by: str,
    final: PairAnswers,
    blip2: PairAnswers | None,
    gold: PairAnswers,
    *,
    majority: Sequence[Answers],
    groups: Mapping[str, int] | None,
    seed: int = 0,
) -> FoldScore:
    """Score the final answers of a fold and, if they were routed, BLIP-2's own beside them."""
    score = score_answers(final, gold, majority=majority, groups=groups, seed=seed)
    alone = None
    if blip2 is not None:
        alone = score_answers(blip2, gold, majority=majority, groups=groups, seed=seed)
    return FoldScore(**dict(score), answered_by=answered_by, blip2=alone)


def _rounded(value: float) -> float:
    return round(float(value), _DECIMALS)


def _interval(samples: Numbers) -> tuple[float, float]:
    low, high = interval95(samples)
    return _rounded(low), _rounded(high)


def _pair_metrics(values: Numbers) -> dict[str, float]:
    return dict(zip(PAIR_METRICS, map(_rounded, values), strict=True))


def _class_metrics(pairs: list[tuple[Answers, Answers]]) -> dict[str, float]:
    counts = confusion([given for given, _ in pairs], [gold for _, gold in pairs])
    return {"macro_f1": _rounded(macro_f1(counts)), "mcc": _rounded(matthews(counts))}
