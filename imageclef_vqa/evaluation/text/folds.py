"""A scored fold of open questions with everything that a report shows of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from imageclef_vqa.evaluation.folds import ScoredFold
from imageclef_vqa.evaluation.text.metrics import TextMeter
from imageclef_vqa.evaluation.text.scores import Questions, TextScore


@dataclass(frozen=True)
class TextFold(ScoredFold[TextScore]):
    """A fold of open questions, with their texts; `meter` has measured the answers."""

    questions: Questions = field(kw_only=True)
    meter: TextMeter = field(kw_only=True)
