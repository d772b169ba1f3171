"""`medvqa import`: other people's data sets, as data sets of this task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from imageclef_vqa.cli.options import JsonOption, WorkspaceOption
from imageclef_vqa.workspace import Workspace

import_ = typer.Typer(no_args_is_help=True, help="Convert other data sets to the files of this task.")


@import_.callback()
def _import() -> None:
    pass


@import_.command("kvasir-vqa")
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
    from imageclef_vqa.cli.console import print_json
    from imageclef_vqa.data.kvasir import read_kvasir, write_dataset
    from imageclef_vqa.files import write_json

    place = Workspace.at(workspace)
    target = out or (place.root / "data/kvasir-vqa" if place.development.exists() else place.development)
    imported = read_kvasir(table, images)
    write_dataset(imported, target)
    overlaps = _overlaps(place, target, imported.images)
    write_json(target / "overlap.json", overlaps)
    answers = sum(map(len, imported.answers.values()))
    if as_json:
        print_json(
            {
                "folder": place.shown(target),
                "images": len(imported.images),
                "answers": answers,
                "odd": imported.oddities.lines(),
                "overlap": {name: len(shared) for name, shared in overlaps.items()},
            }
        )
        return
    for line in imported.oddities.lines():
        typer.secho(f"warning: {line}", fg="yellow")
    typer.echo(f"{place.shown(target)}: {answers:,} answers to {len(imported.images):,} images.")
    for name, shared in overlaps.items():
        if shared:
            one, other = next(iter(shared.items()))
            said = f"{len(shared):,} images are in {name}, too (e.g. {one} is {other['image']})"
            typer.secho(f"warning: {said}: a model that learns from them cannot be scored there", fg="yellow")
        else:
            typer.echo(f"No image is in {name}, too.")
    if any(overlaps.values()):
        typer.echo(f"{place.shown(target / 'overlap.json')} lists them.")
    if not overlaps:
        typer.echo("No 2023 images here to compare with: they and Kvasir-VQA share images, so that scores would leak.")
    if target == place.development:
        typer.echo("Next: `medvqa split`")
    else:
        typer.echo(f'To train on it: [data] development = "{place.shown(target)}" in medvqa.toml, then `medvqa split`.')


def _overlaps(workspace: Workspace, target: Path, images: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """Data set of the workspace → image of `images` → the image there that shows the same, and how similar they are."""
    from imageclef_vqa.data.overlap import shared_pictures
    from imageclef_vqa.data.reading import image_files

    ids = list(images)
    found: dict[str, dict[str, Any]] = {}
    for folder in (workspace.development, workspace.test):
        if not (folder / "images").is_dir() or folder == target:
            continue
        theirs = image_files(folder / "images")
        shared = shared_pictures(list(images.values()), theirs, workspace.cache if workspace.work.is_dir() else None)
        found[workspace.shown(folder)] = {
            ids[one]: {"image": theirs[other].stem, "similarity": value} for one, (other, value) in shared.items()
        }
    return found
