"""A scored fold with everything that a report or a plot shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from imageclef_vqa.evaluation.display import SYSTEMS
from imageclef_vqa.evaluation.metrics import PairAnswers
from imageclef_vqa.evaluation.scores import FoldScore

_Score = TypeVar("_Score")
HEADINGS = {"val": "Validation images", "test": "Test images", "gold": "Images of --gold"}


class SmallMap(NamedTuple):
    """A heat map for a report: a PNG of a pixel for each cell, and the name of the place where it is highest."""

    png: bytes
    place: str


@dataclass(frozen=True)
class ScoredFold(Generic[_Score]):
    """One fold: its score, the scored answers and, where known, their probabilities.

    `images` are the image files by id, for thumbnails. `records` are the indices of the images in their gt.json, which
    identify images without an official id. `heat_maps` are those of wrong answers.
    """

    name: str
    score: _Score
    given: PairAnswers
    gold: PairAnswers
    probabilities: Mapping[tuple[str, int], float] = field(default_factory=dict)
    groups: Mapping[str, int] | None = None
    images: Mapping[str, Path] = field(default_factory=dict)
    records: Mapping[str, int] = field(default_factory=dict)
    heat_maps: Mapping[tuple[str, int], SmallMap] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        return HEADINGS.get(self.name, self.name)


class ReportFold(ScoredFold[FoldScore]):
    """A fold of closed questions."""

    @property
    def system(self) -> str:
        return SYSTEMS.get(self.score.answered_by, self.score.answered_by)
