"""`medvqa check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imageclef_vqa.cli.console import echo, print_json
from imageclef_vqa.cli.options import EditionOption, JsonOption, RunOption, WorkspaceOption
from imageclef_vqa.errors import MedvqaError


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
        if done.labels is None:
            echo("No labels here: answers were compared with those the edition is known for (--development).", dim=True)
        if done.ids is None:
            echo("No id list here: whether all images are answered was not checked (--ids).", dim=True)
        if done.verdict is not None:
            echo(str(done.verdict))
    if done.errors:
        raise MedvqaError(f"{file}: {done.errors} error{'s' * (done.errors > 1)}", remedy="mend them and check again")
    if not as_json:
        echo(f"{file}: {done.answers:,} answers to {done.images:,} images, no error.")
