"""`medvqa split`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from imageclef_vqa.cli.options import JsonOption, SeedOption, WorkspaceOption

_VAL = 0.1


def split(
    workspace: WorkspaceOption = Path("."),
    val: Annotated[
        float | None, typer.Option(help="Share of the images for validation.", show_default=str(_VAL))
    ] = None,
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

    from imageclef_vqa.cli.console import print_json, print_table, wrapped
    from imageclef_vqa.cli.split_tables import split_sections
    from imageclef_vqa.data import make_split, read_dataset
    from imageclef_vqa.data.statistics import split_summary
    from imageclef_vqa.errors import UsageError
    from imageclef_vqa.files import sole_writer
    from imageclef_vqa.workspace import Workspace

    if val is not None and folds is not None:
        raise UsageError("--val and --folds exclude each other")
    if val is not None and not 0 < val < 1:
        raise UsageError(f"--val {val:g}: a share between 0 and 1, as in --val 0.1")
    if folds is not None and folds < 2:
        raise UsageError(f"--folds {folds}: at least 2")
    place = Workspace.at(workspace)
    with sole_writer(place.work):
        dataset = read_dataset(place.development, cache=place.cache)
        share = val if val is not None or folds is not None else _VAL
        made = make_split(dataset, val=share, folds=folds, by=by, seed=seed, cache=place.cache)
        made.write(place.split_file)
    if as_json:
        print_json(split_summary(dataset, made))
        return
    for warning in dataset.warnings:
        typer.secho(wrapped(f"warning: {warning}"), fg="yellow")
    for section in split_sections(dataset, made):
        typer.echo()
        if isinstance(section, Table):
            print_table(section)
        else:
            typer.echo("\n".join(map(wrapped, section)))
    typer.echo(f"\n{place.shown(place.split_file)}; next: `medvqa finetune --stage 1`")
