"""`medvqa explain`: an answer with its alternatives and confidence, a heat map, what else the model states, a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imageclef_vqa.data.pixels import read_picture
from imageclef_vqa.editions import Implication
from imageclef_vqa.editions.rankings import Ranked
from imageclef_vqa.errors import UsageError
from imageclef_vqa.explanations import METHODS
from imageclef_vqa.explanations.picture import draw_over, png
from imageclef_vqa.explanations.statements import Statement, contradicted
from imageclef_vqa.explanations.text import explain_in_words
from imageclef_vqa.files import atomic_write, check_output

if TYPE_CHECKING:
    from imageclef_vqa.inference.ask import Replies, Reply


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


def explain(
    image: str | Path,
    question: int | str,
    *,
    method: str = METHODS[0],
    out: str | Path | None = None,
    workspace: str | Path = ".",
    run: str | Sequence[str] = "main",
    answers: str | None = None,
    device: str = "auto",
    notify: Callable[[str], None] = lambda message: None,
) -> Explanation:
    """Explain the answer of a trained run to one question about a picture.

    `load_model(…).explain` does the same for a model that is loaded once. With `out`, the picture with the heat map
    over it is written there as a PNG.

    Args:
        question: its id, its text, or a part of one text only; any text, for a run with open questions.
        method: of the heat map: "combined", "rollout", "gradient" or "occlusion".
        answers: "routed", "plain" (BLIP-2 only), or the name of a variant of `predict`.

    Raises:
        UsageError: no question, or more than one, is meant; there is no such method; `out` is no .png.
        DataError: the file is no picture.
        MissingStepError: the run has no finished stage 2.
    """
    from imageclef_vqa.pipeline.ask import check_picture, load_model

    check_method(method)
    target = None if out is None else check_png(out)
    check_picture(Path(image), str(question), workspace)
    explanation = load_model(workspace, run, answers=answers, device=device, notify=notify).explain(
        image, question, method
    )
    if target is not None:
        explanation.save(target)
    return explanation


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


def check_png(out: str | Path) -> Path:
    """The file that a picture can be written to.

    Raises:
        UsageError: it is no .png.
        FileError: it cannot be written.
    """
    target = Path(out)
    if target.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: pictures are written as .png")
    check_output(target)
    return target
