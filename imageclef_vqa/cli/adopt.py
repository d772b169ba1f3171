"""`medvqa adopt`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imageclef_vqa.cli.console import echo, print_json
from imageclef_vqa.cli.options import EditionOption, FoldOption, JsonOption, WorkspaceOption
from imageclef_vqa.errors import counted


def adopt(
    file: Annotated[
        Path,
        typer.Argument(help="predictions_1.json, ms-swift's JSON lines, CSV, Parquet, our predictions, or a run."),
    ],
    run: Annotated[str, typer.Option(help="Name of the run to make, as in --run qwen.", show_default=False)],
    model: Annotated[str | None, typer.Option(help="Name of the model.", show_default="that of the run")] = None,
    edition: EditionOption = None,
    fold: FoldOption = 0,
    workspace: WorkspaceOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Take another model's answers as a run, for `score`, `route`, `check` and `package`."""
    from imageclef_vqa.pipeline.adopt import adopt as adopt_answers
    from imageclef_vqa.workspace import Workspace

    done = adopt_answers(file, run=run, model=model, edition=edition, fold=fold, workspace=workspace)
    at = Workspace.at(workspace, run)
    if as_json:
        files = {name: at.shown(path) for name, path in done.files.items()}
        content = {"run": run, "files": files, "answered": dict(done.answered), "asked": dict(done.asked)}
        print_json(content | {"elsewhere": len(done.strangers)})
        return
    for name, count in done.answered.items():
        echo(f"{name}: {count:,} of {done.asked[name]:,} questions answered")
        if 0 < count < done.asked[name]:
            echo(
                f"warning: {name}: {counted(done.asked[name] - count, 'question has', 'questions have')} no answer",
                fg="yellow",
            )
    if done.strangers:
        what = f"{len(done.strangers):,} answers to questions that are asked neither of validation nor of test images"
        echo(f"warning: {what}: left out (e.g. {done.strangers[0]})", fg="yellow")
    echo(f"{at.shown(at.run_folder)} is a run like others; next: `{at.typed('medvqa score')}`")
