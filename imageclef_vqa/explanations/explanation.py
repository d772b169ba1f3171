"""The explanation of one answer, from a heat map and from what the model states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from imageclef_vqa.data.pixels import read_picture
from imageclef_vqa.editions import Implication
from imageclef_vqa.editions.rankings import Ranked
from imageclef_vqa.errors import UsageError
from imageclef_vqa.explanations import METHODS
from imageclef_vqa.explanations.picture import draw_over, png
from imageclef_vqa.explanations.statements import Statement, contradicted
from imageclef_vqa.explanations.text import explain_in_words
from imageclef_vqa.files import atomic_write
from imageclef_vqa.inference.replies import Replies, Reply


@dataclass(frozen=True, eq=False)
class Explanation(Mapping[str, Any]):
    """Why a model gave an answer; its fields are also the keys of a mapping.

    Attributes:
        image: the file.
        question: its text.
        question_id: in the bank; None for an open question.
        answers: the answer that is given, then its alternatives, each a set of strings with its probability.
        confidence: the probability of the answer, calibrated if `calibrated`.
        model: what gave the answer.
        method: of the heat map.
        heatmap: float32 [rows, columns] from 0 to 1 over the whole picture: what carried the answer, in BLIP-2. It is
            at most half as high around the endoscope's field of view as in it, unless the question is about the frame.
        around: how much of the weight of the map is around the field of view, from 0 to 1; 0 where it is not dimmed.
        facts: what the model states about this picture, by the questions of the bank; the first is the answer.
        contradictions: rules between questions, learnt from the training labels, that these facts break.
        checked: whether there were rules.
        text: two or three sentences that name nothing but what these facts hold.
    """

    image: str
    question: str
    question_id: int | None
    answers: Ranked
    confidence: float
    calibrated: bool
    model: str
    method: str
    heatmap: np.ndarray
    around: float
    facts: tuple[Statement, ...]
    contradictions: tuple[Implication, ...]
    checked: bool
    text: str

    def __getitem__(self, name: str) -> Any:
        if name not in (each.name for each in fields(self)):
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return (each.name for each in fields(self))

    def __len__(self) -> int:
        return len(fields(self))

    def save(self, out: str | Path) -> None:
        """Write the picture with the heat map over it as a PNG."""
        content = png(draw_over(read_picture(Path(self.image)), self.heatmap))
        with atomic_write(Path(out), "wb") as file:
            file.write(content)


def explanation(
    image: str,
    found: Replies,
    reply: Reply,
    answer: Statement,
    stated: Sequence[Statement],
    heat: np.ndarray,
    around: float,
    method: str,
    rules: tuple[Implication, ...] | None,
) -> Explanation:
    """The explanation of `reply`, with its statement `answer`; `stated` are those of the whole bank."""
    others = [each for each in stated if each.question is not None and each.question is not answer.question]
    broken = contradicted([answer, *others], rules or ())
    return Explanation(
        image=image,
        question=reply.question.text,
        question_id=reply.question.id if reply.question.id >= 0 else None,
        answers=reply.ranked,
        confidence=min(1.0, reply.probability),
        calibrated=found.calibration is not None,
        model=reply.model,
        method=method,
        heatmap=heat,
        around=around,
        facts=(answer, *others),
        contradictions=tuple(broken),
        checked=rules is not None,
        text=explain_in_words(answer, others, broken, checked=rules is not None),
    )


def check_method(method: str) -> None:
    """Raises UsageError if there is no such method of making heat maps."""
    if method not in METHODS:
        raise UsageError(f"--method {method}: there are {', '.join(METHODS)}")
