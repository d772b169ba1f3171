"""`medvqa explain`: an answer with its alternatives and confidence, a heat map, what else the model states, a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from imageclef_vqa.errors import UsageError
from imageclef_vqa.explanations import METHODS
from imageclef_vqa.explanations.explanation import Explanation, check_method
from imageclef_vqa.files import check_output
from imageclef_vqa.pipeline.ask import check_picture, load_model


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
    check_method(method)
    target = None if out is None else check_png(out)
    check_picture(Path(image), str(question), workspace)
    explanation = load_model(workspace, run, answers=answers, device=device, notify=notify).explain(
        image, question, method
    )
    if target is not None:
        explanation.save(target)
    return explanation


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
