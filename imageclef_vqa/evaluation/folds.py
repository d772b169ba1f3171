"""A fold that was scored, with all that a report, or a plot, shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imageclef_vqa.evaluation.metrics import PairAnswers
from imageclef_vqa.evaluation.scores import FoldScore
from imageclef_vqa.evaluation.words import SYSTEMS

HEADINGS = {"val": "Validation images", "test": "Test images", "gold": "Against the gold answers named"}


@dataclass(frozen=True)
class ReportFold:
    """One fold with its score, the answers that were scored and, where known, their probabilities.

    `images` are the files by id, for those who draw thumbnails; `records` the places of the images in their gt.json,
    which name those whose ids are not the organisers'.
    """

    name: str
    score: FoldScore
    given: PairAnswers
    gold: PairAnswers
    probabilities: Mapping[tuple[str, int], float] = field(default_factory=dict)
    groups: Mapping[str, int] | None = None
    images: Mapping[str, Path] = field(default_factory=dict)
    records: Mapping[str, int] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        return HEADINGS.get(self.name, self.name)

    @property
    def system(self) -> str:
        return SYSTEMS.get(self.score.answered_by, self.score.answered_by)
