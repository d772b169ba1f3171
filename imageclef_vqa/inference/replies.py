"""Answers about one image, as a model that is asked gives them. Free of Paddle."""

from __future__ import annotations

from dataclasses import dataclass

from imageclef_vqa.editions import Question
from imageclef_vqa.editions.rankings import Ranked
from imageclef_vqa.inference.calibration import Calibration


@dataclass(frozen=True)
class AskedQuestion:
    """An open question, which has no number."""

    text: str
    id: int = -1


@dataclass(frozen=True)
class Reply:
    """The ranked answers of `model` to one question, with calibrated probabilities; the first one is given.

    `members` has the probability that the answer contains each member, for questions that take a set; `trained` is
    False if no training label answers the question.
    """

    question: Question | AskedQuestion
    ranked: Ranked
    members: dict[str, float]
    trained: bool
    model: str

    @property
    def answers(self) -> tuple[str, ...]:
        """The answer that is given: a set of strings in canonical order."""
        return self.ranked[0][0]

    @property
    def probability(self) -> float:
        return self.ranked[0][1]


@dataclass(frozen=True)
class Replies:
    """The replies of `model`, in the order of the questions; `calibration` is None if the run was never calibrated."""

    model: str
    replies: tuple[Reply, ...]
    calibration: Calibration | None
