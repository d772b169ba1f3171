"""Decisions from held-out answers: BLIP-2, each expert and their blend are compared question by question.

An expert is a mapping from pairs to ranked answers. Questions that the same models answer are compared together.

n pairs of image and question, m models (BLIP-2 first), a answers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

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
    folds_of,
    mean_gain,
)

Policy = Literal["evidence", "paper"]
RankedAnswers = Mapping[tuple[str, int], tuple[Candidate, ...]]  # by image id and question id, the likeliest first
Gold = Mapping[tuple[str, int], tuple[str, ...]]
BLEND = "blend"


@dataclass(frozen=True)
class HeldOut:
    """Images that no model was trained on: BLIP-2's predictions, the experts' answers by name, the gold answers."""

    predictions: Sequence[Prediction]
    experts: Mapping[str, RankedAnswers]
    gold: Gold


@dataclass(frozen=True)
class Decisions:
    """One decision per question, and mean accuracies over the questions with gold answers (None without any)."""

    decisions: tuple[Decision, ...]
    blip2: float | None
    routed: float | None
    cross_fitted: float | None  # each image answered by the models that the other images choose


class StoredDecisions(BaseModel):
    """`routed/decisions.json`: who answers which question, so that further images are answered alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: Policy
    seed: int
    decisions: tuple[Decision, ...]


def experts_of(decisions: Iterable[Decision]) -> list[str]:
    """The experts that answer a question, or have a share in the blend that does, in alphabetical order."""
    models = {name for each in decisions for name in (each.model, *(each.shares or ()))}
    return sorted(models - {BLIP2, BLEND})


@dataclass(frozen=True)
class _Pairs:
    """The pairs of questions that the same models answer."""

    models: tuple[str, ...]
    questions: NDArray[np.int64]  # [n]
    images: NDArray[np.int64]  # [n]: rows of `clusters`
    clusters: NDArray[np.int64]  # [images]
    probabilities: Numbers  # [n, m, a]
    products: Numbers  # [n, m, m]: `stacking.error_products`
    right: Mapping[str, NDArray[np.bool_]]  # by model: whether its answer is the gold one [n]

    def of(self, images: NDArray[np.bool_]) -> _Pairs:
        """The pairs of some of the images."""
        kept = images[self.images]
        row = np.cumsum(images) - 1
        return _Pairs(
            self.models,
            self.questions[kept],
            row[self.images[kept]],
            np.unique(self.clusters[images], return_inverse=True)[1],
            self.probabilities[kept],
            self.products[kept],
            {name: right[kept] for name, right in self.right.items()},
        )

    def table(self, values: NDArray[np.bool_] | Numbers) -> Numbers:
        """Values [n] as [image, question], the questions in ascending order; NaN where there is no pair."""
        questions, column = np.unique(self.questions, return_inverse=True)
        table = np.full((len(self.clusters), len(questions)), np.nan)
        table[self.images, column] = values
        return table


@dataclass(frozen=True)
class _Selection:
    choices: Mapping[int, Choice]  # by question
    shares: Numbers  # [m]
    tables: Mapping[str, Numbers]  # right answers [image, question] by model; of the blend with cross-fitted shares


def decide(
    held_out: Sequence[HeldOut],
    groups: Mapping[str, int],
    questions: Sequence[int],
    policy: Policy,
    seed: int,
    experts: Sequence[str],
) -> Decisions:
    """Choose a model for each question.

    The policy "paper" takes the first of `experts` that answers the question, "evidence" the model that `held_out`
    supports. Every image is in only one part of `held_out`. `groups` are those of near-duplicates, by image id.
    """
    able = {q: tuple(name for name in experts if _answers_all(held_out, name, q)) for q in questions}
    decisions: dict[int, Decision] = {}
    for q in questions:
        by_paper = policy == "paper" and able[q]
        model, reason = (able[q][0], "the paper's policy") if by_paper else (BLIP2, "no validation answers")
        decisions[q] = Decision(q, model, reason, {})
    means: list[tuple[float, float, float]] = []  # of BLIP-2, routed and cross-fitted, for each question
    for models in dict.fromkeys(able.values()):
        pairs = _gather(held_out, groups, {q for q in questions if able[q] == models}, models)
        if pairs is None:
            continue
        selection = _select(pairs, seed)
        known = sorted(selection.choices)
        measured = dict(zip(known, accuracies(selection.tables, pairs.clusters, seed), strict=True))
        shares = {name: round(float(s), 4) for name, s in zip(pairs.models, selection.shares, strict=True) if s > 0}
        cross_fitted = _cross_fitted(pairs, seed) if policy == "evidence" else {}
        for q in known:
            choice = selection.choices[q]
            if policy == "paper":
                choice = Choice(decisions[q].model, decisions[q].model, decisions[q].reason)
            blended = shares if choice.model == BLEND else None
            decisions[q] = Decision(q, choice.model, choice.reason, measured[q], choice.rival, blended)
            means.append((measured[q][BLIP2].value, measured[q][choice.model].value, cross_fitted.get(q, np.nan)))
    blip2, routed, fair = np.mean(means, axis=0).tolist() if means else (None, None, np.nan)
    return Decisions(tuple(decisions[q] for q in questions), blip2, routed, None if np.isnan(fair) else fair)


def _answers_all(held_out: Sequence[HeldOut], name: str, question: int) -> bool:
    """Whether an expert answers a question about every image."""
    return all((each.image_id, question) in part.experts[name] for part in held_out for each in part.predictions)


def _gather(
    held_out: Sequence[HeldOut], groups: Mapping[str, int], questions: Collection[int], experts: Sequence[str]
) -> _Pairs | None:
    """All pairs of `questions` that have gold answers; None if there are no such pairs or no experts."""
    found = [
        (part, each, (each.image_id, each.question_id))
        for part in held_out
        for each in part.predictions
        if each.question_id in questions and (each.image_id, each.question_id) in part.gold
    ]
    if not found or not experts:
        return None
    gold = [part.gold[pair] for part, _, pair in found]
    rankings = [[candidates_of(each), *(part.experts[name][pair] for name in experts)] for part, each, pair in found]
    # BLIP-2's answer need not be its likeliest candidate.
    answers = {BLIP2: [each.answers for _, each, _ in found]}
    answers |= {name: [row[m][0].answers for row in rankings] for m, name in enumerate(experts, start=1)}
    image_ids = list(dict.fromkeys(each.image_id for _, each, _ in found))
    row_of = {image_id: row for row, image_id in enumerate(image_ids)}
    probabilities = stacking.probability_table(rankings, gold)
    return _Pairs(
        models=(BLIP2, *experts),
        questions=np.array([each.question_id for _, each, _ in found]),
        images=np.array([row_of[each.image_id] for _, each, _ in found]),
        clusters=clusters_of(image_ids, groups),
        probabilities=probabilities,
        products=stacking.error_products(probabilities),
        right={name: np.array(list(map(same_answer, given, gold))) for name, given in answers.items()},
    )


def _select(pairs: _Pairs, seed: int) -> _Selection:
    """Choose among the models and their blend, which is tested on other images than its shares are fitted to."""
    tables = {name: pairs.table(right) for name, right in pairs.right.items()}
    gain: Estimate | None = None
    if (folds := folds_of(pairs.clusters, seed)) is not None:
        right, gains = np.zeros(len(pairs.questions), bool), np.zeros(len(pairs.questions))
        for fold in range(int(folds.max()) + 1):
            own = folds[pairs.images] == fold
            shares = stacking.best_shares(pairs.products[~own])
            right[own] = stacking.mixture_is_right(pairs.probabilities[own], shares)
            gains[own] = (pairs.products[own, 0, 0] - stacking.quadratic_scores(pairs.products[own], shares)) / 2
        tables[BLEND] = pairs.table(right)
        gain = mean_gain(pairs.table(gains), pairs.clusters, seed)
    choices = choose(tables, pairs.clusters, seed)
    if gain is not None and gain.low > 0:
        blend = Choice(BLEND, BLEND, f"{gain.as_gain()} overall")
        choices = [blend if choice.model == BLIP2 else choice for choice in choices]
    questions = np.unique(pairs.questions).tolist()
    return _Selection(dict(zip(questions, choices, strict=True)), stacking.best_shares(pairs.products), tables)


def _cross_fitted(pairs: _Pairs, seed: int) -> dict[int, float]:
    """Cross-fitted accuracy by question: other images choose who answers an image; empty if there are too few."""
    if (folds := folds_of(pairs.clusters, seed)) is None:
        return {}
    right = np.zeros(len(pairs.questions), bool)
    for fold in range(int(folds.max()) + 1):
        selection, own = _select(pairs.of(folds != fold), seed), folds[pairs.images] == fold
        by_model = {name: values[own] for name, values in pairs.right.items()}
        by_model[BLEND] = stacking.mixture_is_right(pairs.probabilities[own], selection.shares)
        # BLIP-2 keeps a question to which the other images have no gold answer.
        chosen = [selection.choices[q].model if q in selection.choices else BLIP2 for q in pairs.questions[own]]
        right[own] = [by_model[name][row] for row, name in enumerate(chosen)]
    return dict(zip(np.unique(pairs.questions).tolist(), np.nanmean(pairs.table(right), axis=0), strict=True))
