"""`medvqa split`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from imageclef_vqa.cli.console import echo, print_json, print_table
from imageclef_vqa.cli.options import JsonOption, SeedOption, WorkspaceOption


def split(
    workspace: WorkspaceOption = Path("."),
    val: Annotated[float | None, typer.Option(help="Share of the images for validation.", show_default="0.1")] = None,
    folds: Annotated[int | None, typer.Option(help="Number of folds for cross-validation, instead of --val.")] = None,
    by: Annotated[
        Literal["group", "image"],
        typer.Option(
            help="group: near-duplicates and frames of one examination stay together; image: each for itself."
        ),
    ] = "group",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Divide the development images into training and validation, without leaks."""
    from rich.table import Table

    import imageclef_vqa as vqa
    from imageclef_vqa.cli.split_tables import shared_lines, split_sections
    from imageclef_vqa.data.statistics import split_summary
    from imageclef_vqa.workspace import Workspace

    done = vqa.split(workspace, val=val, folds=folds, by=by, seed=seed)
    if as_json:
        print_json({**split_summary(done.dataset, done.split), "shared": done.shared})
        return
    for warning in done.dataset.warnings:
        echo(f"warning: {warning}", fg="yellow")
    for section in split_sections(done.dataset, done.split):
        echo()
        if isinstance(section, Table):
            print_table(section)
        else:
            echo("\n".join(section))
    for line in shared_lines(done.shared):
        echo(f"warning: {line}", fg="yellow")
    at = Workspace.at(workspace)
    echo(f"\n{at.shown(done.file)}; next: `{at.typed('medvqa finetune --stage 1')}`")
