"""Who is compared, and what an answer taken over looks like.

An expert is, to this module, its ranked answers by pair, whatever made them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from imageclef_vqa.evaluation.uncertainty import clusters_of
from imageclef_vqa.routing import evidence
from imageclef_vqa.routing.evidence import BLIP2, Decision, Numbers
from imageclef_vqa.task import Candidate, Prediction, as_set, same_answer

Policy = Literal["evidence", "paper"]
Ranked = Mapping[tuple[str, int], tuple[Candidate, ...]]  # (image id, question id) → answers, best first
Gold = Mapping[tuple[str, int], tuple[str, ...]]
LINEAR, BLEND = "linear", "blend"
_CANDIDATES = 5


@dataclass(frozen=True)
class Decided:
    """Decisions with the accuracies that `Routed` tells."""

    decisions: tuple[Decision, ...]
    blip2: float | None
    routed: float | None
    cross_fitted: float | None


def decide(
    predictions: Iterable[Prediction],
    expert: Ranked,
    gold: Gold,
    groups: Mapping[str, int],
    questions: Sequence[int],
    policy: Policy,
    seed: int,
) -> Decided:
    """Weigh BLIP-2's `predictions`, the `expert` and the blend of both, by the gold answers of the same images."""
    chosen = dict.fromkeys(questions, BLIP2 if policy == "evidence" else LINEAR)
    reasons = dict.fromkeys(questions, "no validation answers" if policy == "evidence" else "the paper's policy")
    told: dict[int, dict[str, evidence.Estimate]] = {question: {} for question in questions}
    plain = {(each.image_id, each.question_id): each for each in predictions}
    pairs = [pair for pair in plain if pair[1] in chosen and pair in gold]
    known = sorted({question for _, question in pairs})
    if not known:
        return Decided(tuple(Decision(q, chosen[q], reasons[q], {}) for q in questions), None, None, None)
    answers: dict[str, Gold] = {
        BLIP2: {pair: plain[pair].answers for pair in pairs},
        LINEAR: {pair: expert[pair][0].answers for pair in pairs},
    }
    if policy == "evidence":
        answers[BLEND] = {pair: blend(candidates_of(plain[pair]), expert[pair])[0].answers for pair in pairs}
    image_ids = list(dict.fromkeys(image_id for image_id, _ in pairs))
    right = {name: _right(given, gold, image_ids, known) for name, given in answers.items()}
    clusters = clusters_of(image_ids, groups)
    told |= dict(zip(known, evidence.accuracies(right, clusters, seed), strict=True))
    cross_fitted = None
    if policy == "evidence":
        names, why = evidence.choose(right, clusters, seed)
        chosen |= dict(zip(known, names, strict=True))
        reasons |= dict(zip(known, why, strict=True))
        cross_fitted = evidence.cross_fitted_accuracy(right, clusters, seed)
    return Decided(
        decisions=tuple(Decision(q, chosen[q], reasons[q], told[q]) for q in questions),
        blip2=evidence.mean_accuracy(right, [BLIP2] * len(known)),
        routed=evidence.mean_accuracy(right, [chosen[question] for question in known]),
        cross_fitted=cross_fitted,
    )


def apply(decisions: Iterable[Decision], predictions: Iterable[Prediction], expert: Ranked) -> list[Prediction]:
    """`predictions` with the answers of those who were chosen; what BLIP-2 keeps is left as it is."""
    chosen = {decision.question_id: decision for decision in decisions if decision.model != BLIP2}
    return [
        _answered_by(chosen[each.question_id], each, expert) if each.question_id in chosen else each
        for each in predictions
    ]


def _answered_by(decision: Decision, plain: Prediction, expert: Ranked) -> Prediction:
    candidates = expert[plain.image_id, plain.question_id]
    if decision.model == BLEND:
        candidates = blend(candidates_of(plain), candidates)
    best = candidates[0]
    return plain.model_copy(
        update={
            "answers": best.answers,
            "probability": best.probability,
            "candidates": candidates,
            "model": decision.model,
            "replaced": None if same_answer(best.answers, plain.answers) else plain.answers,
            "reason": decision.reason,
        }
    )


def candidates_of(prediction: Prediction) -> tuple[Candidate, ...]:
    """What was weighed; for a record without that, its answer alone."""
    return prediction.candidates or (Candidate(answers=prediction.answers, probability=prediction.probability),)


def blend(one: Sequence[Candidate], other: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The likeliest answers by the mean of two models' probabilities; what a model does not list has none."""
    total: dict[frozenset[str], Candidate] = {}
    for candidate in (*one, *other):
        members = as_set(candidate.answers)
        before = total.get(members)
        probability = min(1.0, candidate.probability / 2 + (before.probability if before else 0.0))
        total[members] = Candidate(answers=(before or candidate).answers, probability=probability)
    return tuple(sorted(total.values(), key=lambda candidate: -candidate.probability)[:_CANDIDATES])


def _right(given: Gold, gold: Gold, image_ids: Sequence[str], questions: Sequence[int]) -> Numbers:
    """Right (1) or wrong (0), [image, question]; NaN where there is no gold answer."""
    row = {image_id: at for at, image_id in enumerate(image_ids)}
    column = {question: at for at, question in enumerate(questions)}
    table = np.full((len(row), len(column)), np.nan)
    for (image_id, question), answers in given.items():
        table[row[image_id], column[question]] = same_answer(answers, gold[image_id, question])
    return table
