"""`medvqa ask`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imageclef_vqa.cli.console import echo, note, print_json, print_table
from imageclef_vqa.cli.options import AnswersOption, DeviceOption, JsonOption, RunsOption, WorkspaceOption
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from rich.table import Table

    from imageclef_vqa.inference.replies import Replies, Reply

_SHOWN = 5


def ask(
    image: Annotated[Path, typer.Argument(help="An image file, JPEG or PNG.", show_default=False)],
    question: Annotated[
        str | None,
        typer.Argument(help="Number, text, or a part of the text that no other question has.", show_default="all"),
    ] = None,
    answers: AnswersOption = None,
    device: DeviceOption = "auto",
    run: RunsOption = None,
    workspace: WorkspaceOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Ask a trained run about one image: the answer, its alternatives, and their probabilities."""
    from imageclef_vqa.pipeline.ask import check_picture, load_model

    check_picture(image, question, workspace)
    model = load_model(workspace, run or ["main"], answers=answers, device=device, notify=note)
    replies = model.replies(image, question)
    if as_json:
        print_json(_as_json(image, replies) | {"answers": model.answers})
        return
    print_table(_one(replies.replies[0]) if question is not None else _all(replies))
    echo(f"{model.answers} answers of {_models(replies)}")
    if untrained := [str(reply.question.id) for reply in replies.replies if not reply.trained]:
        echo(f"never answered in training, so guessed from the known values: {', '.join(untrained)}")
    if replies.calibration is None:
        command = Workspace.at(workspace).typed("medvqa predict")
        note(f"these probabilities are not calibrated: `{command}` does it, on the validation images")


def _models(replies: Replies) -> str:
    """Who answered: the models, with their questions where there are several."""
    questions: dict[str, list[str]] = {}
    for reply in replies.replies:
        questions.setdefault(reply.model, []).append(str(reply.question.id))
    if len(questions) == 1:
        return next(iter(questions))
    return "; ".join(f"{model} ({', '.join(ids)})" for model, ids in questions.items())


def _one(reply: Reply) -> Table:
    """The answers to one question and, where a set is asked for, each member by itself."""
    table = _table()
    number = "" if reply.question.id < 0 else f"{reply.question.id} "
    table.add_column(number + reply.question.text)
    table.add_column("probability", justify="right", no_wrap=True)
    shown = reply.ranked[:_SHOWN]
    for index, (answers, probability) in enumerate(shown):
        table.add_row("; ".join(answers), f"{probability:.3f}", style="bold" if index == 0 else "")
    if (rest := 1 - sum(probability for _, probability in shown)) >= 0.0005:
        table.add_row("any other", f"{rest:.3f}", style="dim")
    if reply.members:
        table.add_section()
        for name, probability in reply.members.items():
            if probability >= 0.0005:
                table.add_row(f"includes {name}", f"{probability:.3f}")
    return table


def _all(replies: Replies) -> Table:
    table = _table()
    table.add_column("question", max_width=51)
    table.add_column("answer", max_width=22)
    table.add_column("probability", justify="right", no_wrap=True)
    for reply in replies.replies:
        answers, probability = reply.ranked[0]
        table.add_row(f"{reply.question.id:>2} {reply.question.text}", "; ".join(answers), f"{probability:.3f}")
    return table


def _table() -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _as_json(image: Path, replies: Replies) -> dict[str, Any]:
    return {
        "image": str(image),
        "model": replies.model,
        "temperature": replies.calibration.temperature if replies.calibration else None,
        "questions": [
            {
                "question_id": reply.question.id if reply.question.id >= 0 else None,
                "question": reply.question.text,
                "answer": list(reply.ranked[0][0]),
                "probability": reply.ranked[0][1],
                "candidates": [
                    {"answers": list(answers), "probability": probability} for answers, probability in reply.ranked
                ],
                "members": reply.members,
                "trained": reply.trained,
                "model": reply.model,
            }
            for reply in replies.replies
        ],
    }
