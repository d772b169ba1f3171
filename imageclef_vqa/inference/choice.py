"""From ranked answers to those that are given: temperature, metric, and rules between questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from imageclef_vqa.inference.calibration import apply_temperature
from imageclef_vqa.inference.consistency import Consistency
from imageclef_vqa.inference.ranked import Answers, Optimise, Ranked, best


class Chosen(NamedTuple):
    """For each question about an image: all answers with calibrated probabilities, the likeliest one, the given one.

    They differ where rules between questions were applied.
    """

    ranked: list[Ranked]
    likely: list[Answers]
    given: list[Answers]


@dataclass(frozen=True)
class Choice:
    """How an answer is chosen; the defaults take the likeliest one."""

    optimise: Optimise = "exact"
    temperature: float = 1.0
    rules: Consistency = field(default_factory=lambda: Consistency(()))

    def choose(self, of_image: Sequence[Ranked]) -> Chosen:
        """The answers to all questions [question] about an image."""
        ranked = [apply_temperature(each, self.temperature) for each in of_image]
        likely = [best(each, self.optimise)[0] for each in ranked]
        return Chosen(ranked, likely, self.rules.repair(likely, ranked))
