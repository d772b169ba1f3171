"""Replacing answers by those of the chosen models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from imageclef_vqa.editions import Prediction, candidates_of, same_answer
from imageclef_vqa.routing.decisions import BLEND, RankedAnswers
from imageclef_vqa.routing.evidence import BLIP2, Decision
from imageclef_vqa.routing.stacking import mix


def apply(
    decisions: Iterable[Decision], predictions: Iterable[Prediction], experts: Mapping[str, RankedAnswers]
) -> list[Prediction]:
    """`predictions` with the answers of the chosen models; those of questions that BLIP-2 keeps are unchanged."""
    chosen = {decision.question_id: decision for decision in decisions if decision.model != BLIP2}
    return [
        _replaced(chosen[each.question_id], each, experts) if each.question_id in chosen else each
        for each in predictions
    ]


def _replaced(decision: Decision, plain: Prediction, experts: Mapping[str, RankedAnswers]) -> Prediction:
    pair = (plain.image_id, plain.question_id)
    if decision.model == BLEND and decision.shares is not None:
        rankings = {name: candidates_of(plain) if name == BLIP2 else experts[name][pair] for name in decision.shares}
        candidates = mix(rankings, decision.shares)
    else:
        candidates = experts[decision.model][pair]
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
