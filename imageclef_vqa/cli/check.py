"""`medvqa check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imageclef_vqa.cli.console import echo, print_json
from imageclef_vqa.cli.options import EditionOption, JsonOption, RunOption, WorkspaceOption
from imageclef_vqa.errors import MedvqaError, counted


def check(
    file: Annotated[Path, typer.Argument(help="A run file of any origin: .csv, .json or .zip.")],
    ids: Annotated[
        Path | None, typer.Option(help="Image ids to answer, one per line.", show_default="those of data/test")
    ] = None,
    development: Annotated[
        Path | None,
        typer.Option(
            "--development",
            "--gold",
            help="A gt.json to check the answers against.",
            show_default="that of data/development",
        ),
    ] = None,
    edition: EditionOption = None,
    workspace: WorkspaceOption = Path("."),
    run: RunOption = "main",
    as_json: JsonOption = False,
) -> None:
    """Check a run file for everything that would get it rejected or scored wrongly."""
    import imageclef_vqa as vqa
    from imageclef_vqa.cli.findings import print_findings

    done = vqa.check(file, ids=ids, development=development, edition=edition, workspace=workspace, run=run)
    if as_json:
        print_json(
            {
                "file": str(file),
                "images": done.images,
                "answers": done.answers,
                "errors": done.errors,
                "labels": done.labels,
                "ids": done.ids,
                "findings": [finding.model_dump() for finding in done.findings],
                "organisers": None if done.verdict is None else done.verdict.model_dump(),
            }
        )
    else:
        print_findings(done.findings)
        for line in done.unchecked:
            echo(line, dim=True)
        if done.verdict is not None:
            echo(str(done.verdict))
    if done.errors:
        raise MedvqaError(f"{file}: {counted(done.errors, 'error')}", remedy="mend them and check again")
    if not as_json:
        echo(f"{file}: {counted(done.answers, 'answer')} to {counted(done.images, 'image')}, no error.")
