"""A scored fold of open questions with everything that a report shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imageclef_vqa.evaluation.folds import HEADINGS, SmallMap
from imageclef_vqa.evaluation.metrics import PairAnswers
from imageclef_vqa.evaluation.text.metrics import TextMeter
from imageclef_vqa.evaluation.text.scores import Questions, TextScore


@dataclass(frozen=True)
class TextFold:
    """One fold: its score, the scored answers and, where known, their probabilities; the rest as `ReportFold`.

    `meter` has measured the answers.
    """

    name: str
    score: TextScore
    given: PairAnswers
    gold: PairAnswers
    questions: Questions
    meter: TextMeter
    probabilities: Mapping[tuple[str, int], float] = field(default_factory=dict)
    groups: Mapping[str, int] | None = None
    images: Mapping[str, Path] = field(default_factory=dict)
    records: Mapping[str, int] = field(default_factory=dict)
    heat_maps: Mapping[tuple[str, int], SmallMap] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        return HEADINGS.get(self.name, self.name)
