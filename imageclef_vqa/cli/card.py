"""`medvqa card`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imageclef_vqa.cli.console import echo
from imageclef_vqa.cli.options import WorkspaceOption


def card(
    run: Annotated[str, typer.Argument(help="Name of the run.")] = "main",
    out: Annotated[Path | None, typer.Option(help="File for the card.", show_default="standard output")] = None,
    workspace: WorkspaceOption = Path("."),
) -> None:
    """Write a model card of a run: data, certificate of the split, scores with intervals, limits, licences."""
    from imageclef_vqa.files import write_text
    from imageclef_vqa.pipeline.card import model_card

    text = model_card(workspace, run)
    if out is None:
        echo(text, nl=False, verbatim=True)
    else:
        write_text(out, text)
        echo(f"{out}: the card of {run}")
