"""What a ResNet34 expert predicts for a question: its classes, the targets in training, and answers from logits.

A question that seldom has several answers has a softmax over its classes. Any other question has an independent
probability for each class, and the answer is a set of classes. Rare classes have a larger weight in the loss. The
softmax corrects its probabilities for that, so they are those of the data.

i images, c classes of one question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from imageclef_vqa.data import Dataset
from imageclef_vqa.editions import Candidate

_SELDOM = 0.1  # share of the images with several answers below which a question has a softmax
_CANDIDATES = 5
_THRESHOLDS = np.linspace(0.2, 0.8, 25)
Floats = NDArray[np.floating]


class Head(BaseModel):
    """The classes of one question: answers in canonical order, and all answer sets of the training labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...]
    sets: tuple[tuple[str, ...], ...]
    one_of: bool  # a softmax
    weights: tuple[float, ...]  # of the classes in the loss

    def targets(self, dataset: Dataset, question_id: int) -> NDArray[np.float32]:
        """Whether an image's answer contains a class [i, c], as 0 or 1; a row of zeros for an image without one."""
        index = {name.casefold(): number for number, name in enumerate(self.classes)}
        targets = np.zeros((len(dataset), len(self.classes)), np.float32)
        for row, example in zip(targets, dataset.examples, strict=True):
            row[[index[each.strip().casefold()] for each in example.answers.get(question_id, ()) if each.strip()]] = 1
        return targets

    def rank(self, logits: Floats, threshold: float) -> tuple[Candidate, ...]:
        """The likeliest answers by the logits [c]; the threshold is that of `best_threshold`, unused by a softmax."""
        return self._rank_classes(logits) if self.one_of else self._rank_sets(logits, threshold)

    def _rank_classes(self, logits: Floats) -> tuple[Candidate, ...]:
        return _best([(name,) for name in self.classes], logits - np.log(self.weights))

    def _rank_sets(self, logits: Floats, threshold: float) -> tuple[Candidate, ...]:
        """Rank the sets seen in training and the set of all classes above the threshold."""
        shifted = logits - np.log(threshold / (1 - threshold))
        above = tuple(name for name, logit in zip(self.classes, shifted, strict=True) if logit > 0)
        sets = list(dict.fromkeys([*self.sets, *([above] if above else [])]))
        contained = np.array([[name in members for name in self.classes] for members in sets])
        log_probabilities = np.where(contained, -np.logaddexp(0, -shifted), -np.logaddexp(0, shifted))
        return _best(sets, log_probabilities.sum(axis=1))


def learn_head(sets: Sequence[tuple[tuple[str, ...], int]]) -> Head:
    """The head for a question whose training answers are these sets with their counts."""
    counts: dict[str, int] = {}
    for members, count in sets:
        for member in members:
            counts[member] = counts.get(member, 0) + count
    several = sum(count for members, count in sets if len(members) > 1)
    return Head(
        classes=tuple(counts),
        sets=tuple(members for members, _ in sets),
        one_of=several < _SELDOM * sum(count for _, count in sets),
        weights=tuple(math.sqrt(max(counts.values()) / count) for count in counts.values()),
    )


def best_threshold(logits: Floats, targets: NDArray[np.float32]) -> float:
    """The probability above which a class belongs to the answer, for most exact sets; logits and targets [i, c].

    It is the median of the best thresholds; 0.5 without images.
    """
    if not len(targets):
        return 0.5
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    exact = np.array([((probabilities > t) == (targets > 0)).all(axis=1).mean() for t in _THRESHOLDS])
    return float(np.median(_THRESHOLDS[exact == exact.max()]))


def _best(answers: Sequence[tuple[str, ...]], logits: Floats) -> tuple[Candidate, ...]:
    odds = np.exp(logits - logits.max())
    probabilities = odds / odds.sum()
    order = np.argsort(-probabilities, kind="stable")[:_CANDIDATES]
    return tuple(Candidate(answers=answers[index], probability=float(probabilities[index])) for index in order)
