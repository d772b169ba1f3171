"""`medvqa weights convert|show|verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imageclef_vqa.cli.options import JsonOption

weights = typer.Typer(no_args_is_help=True, help="Convert, show and verify published checkpoints.")
_SOURCES = (
    "A folder (Hugging Face: config.json and weights; LAVIS: .pth files; or made by `convert`), a file, or a hub name."
)


@weights.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help=_SOURCES)],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write, or to add parts to.")],
    as_json: JsonOption = False,
) -> None:
    """Turn BLIP-2, T5, ChatGLM-6B, VisualGLM-6B or ResNet34 weights into a folder for `finetune --weights`."""
    from imageclef_vqa import devices
    from imageclef_vqa.checkpoints.hub import find_source
    from imageclef_vqa.cli.console import print_json

    place = find_source(source)  # complains before Paddle is imported, which takes seconds
    devices.prepare("cpu", seed=0)

    from imageclef_vqa.checkpoints.convert import convert as convert_weights
    from imageclef_vqa.checkpoints.source import open_source

    made = convert_weights(open_source(place), target)
    counts = {part: len(tensors) for part, tensors in made.parts.items()}
    if as_json:
        dropped, absent = dict(made.dropped), dict(made.config.absent)
        print_json(
            {"format": made.format, "folder": str(target), "tensors": counts, "dropped": dropped, "absent": absent}
        )
        return
    for name, reason in made.dropped.items():
        typer.echo(f"left out: {name} ({reason})")
    for name, reason in made.config.absent.items():
        typer.echo(f"not there: {name} ({reason})")
    typer.echo(f"{made.format}: {', '.join(f'{part} {count} tensors' for part, count in counts.items())} → {target}")


@weights.command()
def shrink(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder made by `convert`.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write.")],
) -> None:
    """Copy a folder with its frozen language model in 8 bits, half the size of half precision."""
    from imageclef_vqa import devices

    devices.prepare("cpu", seed=0)

    from imageclef_vqa.checkpoints.shrink import shrink_folder

    shrink_folder(source, target)
    typer.echo(f"language model in 8 bits → {target}")


@weights.command()
def show(
    source: Annotated[str, typer.Argument(metavar="SRC", help=_SOURCES)],
    as_json: JsonOption = False,
) -> None:
    """Show the tensors of each part: their number, types, shapes, parameters and hash."""
    from imageclef_vqa import devices
    from imageclef_vqa.checkpoints.hub import find_source
    from imageclef_vqa.cli.console import print_json, print_table

    place = find_source(source)
    devices.prepare("cpu", seed=0)

    from imageclef_vqa.checkpoints.show import as_table, summarise
    from imageclef_vqa.checkpoints.source import open_source

    parts = summarise(open_source(place))
    if as_json:
        print_json({part.name: part.as_dict() for part in parts})
    else:
        print_table(as_table(parts))


@weights.command()
def verify(
    source: Annotated[str, typer.Argument(metavar="DIR", help="A checkpoint with expected.safetensors beside it.")],
    as_json: JsonOption = False,
) -> None:
    """Convert and run a checkpoint and compare it with expected.safetensors; exit 1 beyond the tolerance."""
    from imageclef_vqa import devices
    from imageclef_vqa.cli.console import print_json, print_table

    devices.prepare("cpu", seed=0)

    from imageclef_vqa.checkpoints.show import comparison_table
    from imageclef_vqa.checkpoints.verify import verify as verify_weights

    rows = verify_weights(Path(source))
    passed = all(row.passed for row in rows)
    if as_json:
        print_json({"passed": passed, "tensors": {row.name: row.as_dict() for row in rows}})
    else:
        print_table(comparison_table(rows))
    if not passed:
        raise typer.Exit(1)
