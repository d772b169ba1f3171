"""`medvqa import`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imageclef_vqa.cli.command import Command, Group
from imageclef_vqa.cli.console import echo, print_json
from imageclef_vqa.cli.options import JsonOption, WorkspaceOption
from imageclef_vqa.errors import counted
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.pipeline.importing import ImportedDataset

import_ = typer.Typer(cls=Group, no_args_is_help=True, help="Convert other data sets to the files of this task.")


@import_.callback()
def _import() -> None:
    pass


@import_.command("kvasir-vqa", cls=Command)
def kvasir_vqa(
    table: Annotated[Path, typer.Argument(metavar="CSV", help="Its table: source,question,answer,img_id.")],
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder with the files <img_id>.jpg.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write.", show_default="data/development, or data/kvasir-vqa if that exists"),
    ] = None,
    workspace: WorkspaceOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Convert Kvasir-VQA to the questions and spelling of 2023, and list images shared with the 2023 sets."""
    from imageclef_vqa.pipeline.importing import import_kvasir

    at = Workspace.at(workspace)
    done = import_kvasir(table, images, out, workspace)
    if not _print_done(at, done, "answer", as_json):
        echo("There are no 2023 images here to compare with. Kvasir-VQA shares images with them, so scores would leak.")


@import_.command("kvasir-vqa-x1", cls=Command)
def kvasir_vqa_x1(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILES", help="Tables (.jsonl, .csv, .parquet), or a folder of them from the hub."),
    ],
    images: Annotated[
        Path | None,
        typer.Option(help="Folder with the files <img_id>.jpg.", show_default="pictures in the tables"),
    ] = None,
    to: Annotated[Literal["development", "test"], typer.Option(help="Data set to write.")] = "development",
    out: Annotated[Path | None, typer.Option(help="Another folder to write.")] = None,
    workspace: WorkspaceOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Convert Kvasir-VQA-x1, or ms-swift's files, to open questions, and list images shared with other data sets."""
    from imageclef_vqa.pipeline.importing import import_open

    done = import_open(files, images, to=to, out=out, workspace=workspace)
    _print_done(Workspace.at(workspace), done, "row", as_json)


def _print_done(at: Workspace, done: ImportedDataset, what: str, as_json: bool) -> bool:
    """Print what was imported; whether its images were compared with other data sets."""
    folder = at.shown(done.folder)
    if as_json:
        print_json(
            {
                "folder": folder,
                "images": done.images,
                f"{what}s": done.answers,
                "odd": done.oddities,
                "overlap": {name: len(shared) for name, shared in done.overlaps.items()},
            }
        )
        return True
    for line in done.oddities:
        echo(f"warning: {line}", fg="yellow")
    echo(
        f"{folder}: {counted(done.answers, what)} {'to' if what == 'answer' else 'on'} {counted(done.images, 'image')}."
    )
    _print_overlaps(at, done)
    split = at.typed("medvqa split")
    if done.folder == at.development:
        echo(f"Next: `{split}`")
    elif done.folder != at.test:
        echo(f'To train on it: [data] development = "{folder}" in medvqa.toml, then `{split}`.')
    return bool(done.overlaps)


def _print_overlaps(workspace: Workspace, done: ImportedDataset) -> None:
    for name, shared in done.overlaps.items():
        if shared:
            one, other = next(iter(shared.items()))
            what = f"{counted(len(shared), 'image is', 'images are')} also in {name} (e.g. {one} is {other['image']})"
            echo(f"warning: {what}: a model that learns from them cannot be scored there", fg="yellow")
        else:
            echo(f"No image is also in {name}.")
    if any(done.overlaps.values()):
        echo(f"{workspace.shown(done.folder / 'overlap.json')} lists them.")
