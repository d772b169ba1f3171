"""The score of one set of answers: global, per question, with intervals and with what its form costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.evaluation.estimates import MEAN, Interval, estimate, rounded
from imageclef_vqa.evaluation.form import FormCost, form_costs
from imageclef_vqa.evaluation.metrics import PAIR_METRICS, Answers, PairAnswers, mean_per_question, members, tabulate
from imageclef_vqa.evaluation.slices import Slice, score_slices
from imageclef_vqa.evaluation.uncertainty import RESAMPLES, Draws, clusters_of, mean_of_known


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Figures(_Frozen):
    """All figures of one question or, as plain means over the questions that have gold answers, of all.

    `interval` is that of `exact_set`, 95%; None where all images are one cluster. `intervals` has one for each figure.
    """

    exact_set: float
    interval: Interval | None
    exact_ordered: float
    folded_set: float
    first_answer: float
    precision: float
    recall: float
    f1: float
    macro_f1: float
    mcc: float
    majority: float | None
    linear: float | None
    intervals: dict[str, Interval]


class _Asked(_Frozen):
    id: int
    question: str
    n: int


class QuestionScore(Figures, _Asked):
    """The figures of one question over `n` images.

    `majority` is the exact-set accuracy of the commonest training answer, `linear` that of the linear expert.
    """


class GlobalScore(Figures):
    """Plain means over the questions; `form_cost` is how much `exact_set` the answers' form takes away, at most."""

    form_cost: float


class Score(_Frozen):
    """Everything said about one set of answers.

    `missing` gold pairs count as wrong, `extra` pairs are ignored. `clusters` is the number of near-duplicate groups
    that the bootstrap drew; None where none are known and it drew images.
    """

    overall: GlobalScore = Field(serialization_alias="global")
    questions: tuple[QuestionScore, ...]
    form: tuple[FormCost, ...]
    slices: tuple[Slice, ...]
    images: int
    clusters: int | None
    resamples: int
    missing: int
    extra: int

    def question(self, question_id: int) -> QuestionScore | None:
        """The score of one question; None if it has no gold answers."""
        return next((score for score in self.questions if score.id == question_id), None)


class FoldScore(Score):
    """One fold: the score of its final answers, and of BLIP-2 alone where routing came after it.

    `seen` images are recognised as pictures or examinations that the model was trained on; `exact_set_unseen` is the
    global figure without them. None where nobody could look.
    """

    answered_by: str
    blip2: Score | None = None
    seen: int | None = None
    exact_set_unseen: float | None = None


def score_answers(
    given: PairAnswers,
    gold: PairAnswers,
    *,
    majority: Sequence[Answers] | None = None,
    linear: PairAnswers | None = None,
    groups: Mapping[str, int] | None = None,
    heights: Mapping[str, int] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    draws: Draws | None = None,
) -> Score:
    """Score `given` against `gold`.

    Args:
        majority: the commonest training answer of each of the 18 questions, for the baseline.
        linear: the linear expert's answers; a question that it leaves out has no such figure.
        groups: image id → near-duplicate group, which the bootstrap draws as one.
        heights: image id → pixels, for the slices.
        draws: those of another score of the same gold answers, in place of new ones.

    Raises:
        MedvqaError: there is no gold answer at all.
    """
    if not gold:
        raise MedvqaError("there are no gold answers to score against", remedy="check that gt.json holds Labels")
    table = tabulate(given, gold)
    draws = draws or Draws(clusters_of(table.image_ids, groups), seed, resamples)
    tables = {metric: table.of(metric) for metric in PAIR_METRICS}
    if majority is not None:
        tables["majority"] = table.spread(
            [float(members(majority[question_id]) == members(answers)) for question_id, _, answers in table.couples]
        )
    if linear is not None:
        answered = {question_id for _, question_id in linear}
        ranked = tabulate(linear, gold).of("exact_set")
        tables["linear"] = np.where([question.id in answered for question in QUESTIONS], ranked, np.nan)
    drawn = draws if draws.count > 1 else None
    estimates = estimate(tables, table, drawn)
    asked = list(table.by_question)
    form = [cost for question_id in asked for cost in form_costs(question_id, table.by_question[question_id].counts)]
    return Score(
        overall=GlobalScore(form_cost=rounded(sum(cost.points for cost in form) / len(asked)), **estimates.of(MEAN)),
        questions=tuple(
            QuestionScore(
                id=question_id,
                question=QUESTIONS[question_id].text,
                n=len(table.by_question[question_id].rows),
                **estimates.of(question_id),
            )
            for question_id in asked
        ),
        form=tuple(sorted(form, key=lambda cost: -cost.points)),
        slices=score_slices(tables["exact_set"], table, gold, heights, drawn),
        images=len(table.image_ids),
        clusters=None if groups is None else draws.count,
        resamples=draws.resamples,
        missing=len(gold.keys() - given.keys()),
        extra=len(given.keys() - gold.keys()),
    )


def score_fold(
    answered_by: str,
    final: PairAnswers,
    blip2: PairAnswers | None,
    gold: PairAnswers,
    *,
    majority: Sequence[Answers] | None,
    groups: Mapping[str, int] | None,
    linear: PairAnswers | None = None,
    heights: Mapping[str, int] | None = None,
    seen: Collection[str] | None = None,
    seed: int = 0,
) -> FoldScore:
    """Score the final answers of a fold and, if they were routed, BLIP-2's own beside them; `seen` are image ids."""
    draws = Draws(clusters_of(list(dict.fromkeys(image_id for image_id, _ in gold)), groups), seed) if gold else None

    def score(answers: PairAnswers) -> Score:
        return score_answers(
            answers, gold, majority=majority, linear=linear, groups=groups, heights=heights, draws=draws
        )

    unseen = {pair: answers for pair, answers in gold.items() if pair[0] not in seen} if seen else None
    return FoldScore(
        **dict(score(final)),
        answered_by=answered_by,
        blip2=None if blip2 is None else score(blip2),
        seen=None if seen is None else len({image_id for image_id, _ in gold if image_id in seen}),
        exact_set_unseen=rounded(global_accuracy(final, unseen)) if unseen else None,
    )


def global_accuracy(given: PairAnswers, gold: PairAnswers) -> float:
    """The global figure alone: exact sets, mean of the questions that have gold answers."""
    return float(mean_of_known(mean_per_question(tabulate(given, gold).of("exact_set"))))
