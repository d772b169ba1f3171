"""The score of one set of answers: overall and per question, with intervals and formatting losses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.evaluation.estimates import MEAN, Interval, estimate, rounded
from imageclef_vqa.evaluation.formatting_loss import FormattingLoss, formatting_losses
from imageclef_vqa.evaluation.metrics import (
    PAIR_METRICS,
    Answers,
    Numbers,
    PairAnswers,
    PairTable,
    mean_of_known,
    mean_per_question,
    members,
    tabulate,
)
from imageclef_vqa.evaluation.slices import Slice, score_slices
from imageclef_vqa.evaluation.uncertainty import RESAMPLES, Bootstrap, clusters_of


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class MetricValues(_Frozen):
    """Every metric of one question or, as the plain mean over the questions that have gold answers, of all.

    `interval` is the 95% interval of `exact_set`, None if all images are one cluster; `intervals` is by metric.
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
    classical: float | None
    intervals: dict[str, Interval]


class _QuestionFields(_Frozen):
    id: int
    question: str
    n: int


class QuestionScore(MetricValues, _QuestionFields):
    """The metrics of one question over `n` images.

    `majority` is the exact-set accuracy of the most frequent training answer, `classical` that of the classical expert.
    """


class GlobalScore(MetricValues):
    """Plain means over the questions; `formatting_loss` is the accuracy lost to formatting, at most."""

    formatting_loss: float


class Score(_Frozen):
    """The score of one set of answers.

    `missing` gold pairs count as wrong, `extra` pairs are ignored. `clusters` is the number of near-duplicate groups
    that the bootstrap draws; None if no groups are known and it draws images.
    """

    overall: GlobalScore = Field(serialization_alias="global")
    questions: tuple[QuestionScore, ...]
    formatting: tuple[FormattingLoss, ...]
    slices: tuple[Slice, ...]
    images: int
    clusters: int | None
    resamples: int
    missing: int
    extra: int

    def question(self, question_id: int) -> QuestionScore | None:
        """The score of one question; None if it has no gold answers."""
        return next((score for score in self.questions if score.id == question_id), None)


class EpochChoice(_Frozen):
    """The epoch whose weights answer, because its exact-set accuracy on these images is the best of `epochs`.

    `exact_set` is therefore slightly optimistic; `last_exact_set` is that of the last epoch. Both are those of greedy
    decoding during training.
    """

    epoch: int
    epochs: int
    exact_set: float
    last_exact_set: float


class FoldScore(Score):
    """The score of a fold's final answers, with that of BLIP-2 if the final answers are routed.

    `seen` is the number of images that are, or resemble, training images; `exact_set_unseen` is the overall accuracy
    without them. Both are None if the training images are not known. `epoch_choice` is None where these images chose
    no epoch.
    """

    answered_by: str
    blip2: Score | None = None
    seen: int | None = None
    exact_set_unseen: float | None = None
    epoch_choice: EpochChoice | None = None


def score_answers(
    given: PairAnswers,
    gold: PairAnswers,
    *,
    majority: Sequence[Answers] | None = None,
    classical: PairAnswers | None = None,
    groups: Mapping[str, int] | None = None,
    heights: Mapping[str, int] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    bootstrap: Bootstrap | None = None,
) -> Score:
    """Score `given` against `gold`.

    Args:
        majority: the most frequent training answer to each question, by id, for the baseline.
        classical: the classical expert's answers; it has no accuracy for a question without any.
        groups: image id → near-duplicate group; the bootstrap draws whole groups.
        heights: image id → height in pixels, for the slices.
        bootstrap: the resamples of another score of the same gold answers, to be used again.

    Raises:
        MedvqaError: there are no gold answers.
    """
    if not gold:
        raise MedvqaError("there are no gold answers to score against", remedy="check that gt.json holds Labels")
    pairs = tabulate(given, gold)
    bootstrap = bootstrap or Bootstrap(clusters_of(pairs.image_ids, groups), seed, resamples)
    usable = bootstrap if bootstrap.num_clusters > 1 else None
    tables = {metric: pairs.of(metric) for metric in PAIR_METRICS} | _baselines(pairs, gold, majority, classical)
    estimates = estimate(tables, pairs, usable)
    asked = pairs.by_question
    losses = [loss for question_id, own in asked.items() for loss in formatting_losses(question_id, own.counts)]
    lost = rounded(sum(loss.points for loss in losses) / len(asked))
    return Score(
        overall=GlobalScore(formatting_loss=lost, **estimates.of(MEAN)),
        questions=tuple(
            QuestionScore(
                id=question_id, question=QUESTIONS[question_id].text, n=len(own.rows), **estimates.of(question_id)
            )
            for question_id, own in asked.items()
        ),
        formatting=tuple(sorted(losses, key=lambda loss: -loss.points)),
        slices=score_slices(tables["exact_set"], pairs, gold, heights, usable),
        images=len(pairs.image_ids),
        clusters=None if groups is None else bootstrap.num_clusters,
        resamples=bootstrap.resamples,
        missing=len(gold.keys() - given.keys()),
        extra=len(given.keys() - gold.keys()),
    )


def _baselines(
    pairs: PairTable, gold: PairAnswers, majority: Sequence[Answers] | None, classical: PairAnswers | None
) -> dict[str, Numbers]:
    """Exact-set accuracy of the baselines that are known, `[image, question]`."""
    tables = {}
    if majority is not None:
        tables["majority"] = pairs.as_table(
            [float(members(majority[question_id]) == members(answers)) for question_id, _, answers in pairs.outcomes]
        )
    if classical is not None:
        answered = {question_id for _, question_id in classical}
        right = tabulate(classical, gold).of("exact_set")
        tables["classical"] = np.where([question.id in answered for question in QUESTIONS], right, np.nan)
    return tables


def score_fold(
    answered_by: str,
    final: PairAnswers,
    blip2: PairAnswers | None,
    gold: PairAnswers,
    *,
    majority: Sequence[Answers] | None,
    groups: Mapping[str, int] | None,
    classical: PairAnswers | None = None,
    heights: Mapping[str, int] | None = None,
    seen: Collection[str] | None = None,
    epoch_choice: EpochChoice | None = None,
    seed: int = 0,
) -> FoldScore:
    """Score the final answers of a fold and, if they are routed, BLIP-2's own answers; `seen` are image ids.

    Raises:
        MedvqaError: there are no gold answers.
    """
    image_ids = list(dict.fromkeys(image_id for image_id, _ in gold))
    bootstrap = Bootstrap(clusters_of(image_ids, groups), seed) if gold else None

    def score(answers: PairAnswers) -> Score:
        return score_answers(
            answers, gold, majority=majority, classical=classical, groups=groups, heights=heights, bootstrap=bootstrap
        )

    unseen = {pair: answers for pair, answers in gold.items() if pair[0] not in seen} if seen else None
    return FoldScore(
        **dict(score(final)),
        answered_by=answered_by,
        blip2=None if blip2 is None else score(blip2),
        seen=None if seen is None else sum(image_id in seen for image_id in image_ids),
        exact_set_unseen=rounded(global_accuracy(final, unseen)) if unseen else None,
        epoch_choice=epoch_choice,
    )


def global_accuracy(given: PairAnswers, gold: PairAnswers) -> float:
    """Exact-set accuracy: the plain mean over the questions that have gold answers."""
    return float(mean_of_known(mean_per_question(tabulate(given, gold).of("exact_set"))))
