"""Decisions from held-out answers: every model and their blend, question by question.

An expert is, to this module, its ranked answers by pair, whatever made them. Questions that the same models answer
are judged together. n pairs of image and question, m models (BLIP-2 first), a answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imageclef_vqa.editions import Candidate, Prediction, candidates_of, same_answer
from imageclef_vqa.evaluation.uncertainty import clusters_of
from imageclef_vqa.routing import stacking
from imageclef_vqa.routing.evidence import (
    BLIP2,
    Choice,
    Decision,
    Estimate,
    Numbers,
    accuracies,
    choose,
    mean_gain,
    parts_of,
)

Policy = Literal["evidence", "paper"]
Ranked = Mapping[tuple[str, int], tuple[Candidate, ...]]  # (image id, question id) → answers, best first
Gold = Mapping[tuple[str, int], tuple[str, ...]]
BLEND = "blend"


@dataclass(frozen=True)
class HeldOut:
    """Images that no model learnt from: BLIP-2's predictions, the experts' rankings by name, the gold answers."""

    predictions: Sequence[Prediction]
    experts: Mapping[str, Ranked]
    gold: Gold


@dataclass(frozen=True)
class Decided:
    """Decisions with the accuracies that `Routed` tells."""

    decisions: tuple[Decision, ...]
    blip2: float | None
    routed: float | None
    cross_fitted: float | None


@dataclass(frozen=True)
class _Pairs:
    """The pairs of questions that the same models answer."""

    models: tuple[str, ...]
    questions: NDArray[np.int64]  # [n]
    images: NDArray[np.int64]  # [n]: rows of `clusters`
    clusters: NDArray[np.int64]  # [images]
    opinions: Numbers  # [n, m, a]
    miss: Numbers  # [n, m, m]
    alone: Mapping[str, NDArray[np.bool_]]  # by model: right answers [n]

    def where(self, images: NDArray[np.bool_]) -> _Pairs:
        """The pairs of some of the images."""
        kept = images[self.images]
        own = {name: right[kept] for name, right in self.alone.items()}
        rows = np.cumsum(images) - 1
        return _Pairs(
            self.models,
            self.questions[kept],
            rows[self.images[kept]],
            np.unique(self.clusters[images], return_inverse=True)[1],
            self.opinions[kept],
            self.miss[kept],
            own,
        )

    def table(self, values: NDArray[np.bool_] | Numbers) -> Numbers:
        """Values [n] as [image, question], the questions in ascending order; NaN where there is no pair."""
        asked, column = np.unique(self.questions, return_inverse=True)
        table = np.full((len(self.clusters), len(asked)), np.nan)
        table[self.images, column] = values
        return table


@dataclass(frozen=True)
class _Verdict:
    choices: Mapping[int, Choice]  # by question
    shares: Numbers  # [m]
    tables: Mapping[str, Numbers]  # right answers [image, question] by model; the blend's with other images' shares


def decide(
    held_out: Sequence[HeldOut],
    groups: Mapping[str, int],
    questions: Sequence[int],
    policy: Policy,
    seed: int,
    experts: Sequence[str],
) -> Decided:
    """Who answers each question: by the paper's policy the first of `experts` that can, else who `held_out` favours.

    `groups` are those of near-duplicates. An image stands in one of `held_out` alone.
    """
    able = {q: [name for name in experts if _answers(held_out, name, q)] for q in questions}
    decisions: dict[int, Decision] = {}
    for question in questions:
        by_paper = policy == "paper" and able[question]
        model, reason = (able[question][0], "the paper's policy") if by_paper else (BLIP2, "no validation answers")
        decisions[question] = Decision(question, model, reason, {})
    sums: list[tuple[float, float, float]] = []  # of BLIP-2, routed, cross-fitted: one per question
    for models in dict.fromkeys(tuple(names) for names in able.values()):
        asked = [q for q in questions if tuple(able[q]) == models]
        pairs = _gather(held_out, groups, asked, models)
        if pairs is None:
            continue
        verdict = _judge(pairs, seed)
        known = sorted(verdict.choices)
        told = dict(zip(known, accuracies(verdict.tables, pairs.clusters, seed), strict=True))
        shares = {name: round(float(s), 4) for name, s in zip(pairs.models, verdict.shares, strict=True) if s > 0}
        for q in known:
            choice = verdict.choices[q]
            if policy == "paper":
                choice = Choice(decisions[q].model, decisions[q].model, decisions[q].reason)
            blended = shares if choice.model == BLEND else None
            decisions[q] = Decision(q, choice.model, choice.reason, told[q], choice.rival, blended)
        fair = _cross_fitted(pairs, seed) if policy == "evidence" else {}
        for q in known:
            own, now = told[q][BLIP2].value, told[q][decisions[q].model].value
            sums.append((own, now, fair.get(q, np.nan)))
    means = [float(value) for value in np.mean(sums, axis=0)] if sums else None
    return Decided(
        decisions=tuple(decisions[q] for q in questions),
        blip2=means[0] if means else None,
        routed=means[1] if means else None,
        cross_fitted=means[2] if means and not np.isnan(means[2]) else None,
    )


def _answers(held_out: Sequence[HeldOut], name: str, question: int) -> bool:
    """Whether an expert answers a question about every image."""
    return all((each.image_id, question) in part.experts[name] for part in held_out for each in part.predictions)


def _gather(
    held_out: Sequence[HeldOut], groups: Mapping[str, int], questions: Iterable[int], experts: Sequence[str]
) -> _Pairs | None:
    """All pairs of `questions` that have gold answers; None if there are none, or no expert."""
    wanted = set(questions)
    found = [
        (part, each)
        for part in held_out
        for each in part.predictions
        if each.question_id in wanted and (each.image_id, each.question_id) in part.gold
    ]
    if not found or not experts:
        return None
    keys = [(each.image_id, each.question_id) for _, each in found]
    gold = [part.gold[key] for (part, _), key in zip(found, keys, strict=True)]
    rankings = [
        [candidates_of(each), *(part.experts[name][key] for name in experts)]
        for (part, each), key in zip(found, keys, strict=True)
    ]
    alone = {
        BLIP2: np.array([same_answer(each.answers, right) for (_, each), right in zip(found, gold, strict=True)]),
        **{
            name: np.array([same_answer(row[at][0].answers, right) for row, right in zip(rankings, gold, strict=True)])
            for at, name in enumerate(experts, start=1)
        },
    }
    image_ids = list(dict.fromkeys(image_id for image_id, _ in keys))
    row = {image_id: at for at, image_id in enumerate(image_ids)}
    table = stacking.opinions(rankings, gold)
    return _Pairs(
        models=(BLIP2, *experts),
        questions=np.array([question for _, question in keys]),
        images=np.array([row[image_id] for image_id, _ in keys]),
        clusters=clusters_of(image_ids, groups),
        opinions=table,
        miss=stacking.misses(table),
        alone=alone,
    )


def _judge(pairs: _Pairs, seed: int) -> _Verdict:
    """Choose among the models and their blend, which is tested on images that did not choose its shares."""
    tables = {name: pairs.table(right) for name, right in pairs.alone.items()}
    asked = [int(question) for question in np.unique(pairs.questions)]
    gain: Estimate | None = None
    if (parts := parts_of(pairs.clusters, seed)) is not None:
        right, less = np.zeros(len(pairs.questions), bool), np.zeros(len(pairs.questions))
        for number in range(int(parts.max()) + 1):
            own = parts[pairs.images] == number
            shares = stacking.best_shares(pairs.miss[~own])
            right[own] = stacking.right(pairs.opinions[own], shares)
            less[own] = (pairs.miss[own, 0, 0] - stacking.scores(pairs.miss[own], shares)) / 2
        tables[BLEND] = pairs.table(right)
        gain = mean_gain(pairs.table(less), pairs.clusters, seed)
    choices = choose(tables, pairs.clusters, seed)
    if gain is not None and gain.low > 0:
        reason = f"{gain.in_points()} overall"
        choices = [Choice(BLEND, BLEND, reason) if choice.model == BLIP2 else choice for choice in choices]
    return _Verdict(dict(zip(asked, choices, strict=True)), stacking.best_shares(pairs.miss), tables)


def _cross_fitted(pairs: _Pairs, seed: int) -> dict[int, float]:
    """Accuracy by question where each image is answered by whom the others chose; empty if there are too few."""
    if (parts := parts_of(pairs.clusters, seed)) is None:
        return {}
    right = np.zeros(len(pairs.questions), bool)
    for number in range(int(parts.max()) + 1):
        rest, own = pairs.where(parts != number), parts[pairs.images] == number
        verdict = _judge(rest, seed)
        blended = stacking.right(pairs.opinions[own], verdict.shares)
        # Where the others hold no answer to a question, nothing speaks against BLIP-2.
        chosen = [verdict.choices[q].model if q in verdict.choices else BLIP2 for q in pairs.questions[own]]
        right[own] = [blended[at] if name == BLEND else pairs.alone[name][own][at] for at, name in enumerate(chosen)]
    return dict(zip(np.unique(pairs.questions).tolist(), np.nanmean(pairs.table(right), axis=0), strict=True))
