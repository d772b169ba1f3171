"""`medvqa weights convert|shrink|merge|show|verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imageclef_vqa.cli.command import Command, Group
from imageclef_vqa.cli.console import echo, print_json, print_table
from imageclef_vqa.cli.options import JsonOption, RunOption, WorkspaceOption

weights = typer.Typer(cls=Group, no_args_is_help=True, help="Convert, show and verify published checkpoints.")

_Source = Annotated[
    str,
    typer.Argument(
        metavar="SRC",
        help="A folder (Hugging Face: config.json and its weights; LAVIS: .pth files; or a converted one), a file, or "
        "a name on the Hugging Face hub.",
    ),
]


@weights.command(cls=Command)
def convert(
    source: _Source,
    target: Annotated[Path, typer.Argument(metavar="DST", help="The folder to make, or to add parts to.")],
    as_json: JsonOption = False,
) -> None:
    """Turn BLIP-2, T5, ChatGLM-6B, VisualGLM-6B or ResNet34 weights into a folder for `finetune --weights`."""
    from imageclef_vqa import devices
    from imageclef_vqa.checkpoints.hub import find_source

    path = find_source(source)  # before Paddle is imported, which takes seconds
    devices.prepare("cpu", seed=0)

    from imageclef_vqa.checkpoints.convert import convert as convert_weights
    from imageclef_vqa.checkpoints.source import open_source

    conversion = convert_weights(open_source(path), target)
    if as_json:
        print_json(conversion.as_dict() | {"folder": str(target)})
        return
    for name, reason in conversion.dropped.items():
        echo(f"dropped: {name} ({reason})")
    for name, reason in conversion.config.absent.items():
        echo(f"absent: {name} ({reason})")
    if (vision := conversion.config.vision) is not None:
        echo(f"vision: {vision.image_size} × {vision.image_size} pixels, normalised as for {vision.statistics}")
    parts = ", ".join(f"{part} {len(tensors)} tensors" for part, tensors in conversion.parts.items())
    echo(f"{conversion.format}: {parts} → {target}")


@weights.command(cls=Command)
def shrink(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder that `convert` made.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The folder to make.")],
) -> None:
    """Copy a folder with its frozen language model in 8 bits: half the memory of half precision."""
    from imageclef_vqa import devices

    devices.prepare("cpu", seed=0)

    from imageclef_vqa.checkpoints.shrink import shrink_folder

    shrink_folder(source, target)
    echo(f"language model in 8 bits → {target}")


@weights.command(cls=Command)
def merge(
    target: Annotated[Path, typer.Argument(metavar="DST", help="The folder to make.")],
    run: RunOption = "main",
    workspace: WorkspaceOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write a run's model as a folder of weights, its adapters (--lora-rank) merged into the language model."""
    from imageclef_vqa.pipeline.merge import merge as merge_run

    done = merge_run(target, workspace=workspace, run=run)
    if as_json:
        print_json(done)
    else:
        echo(f"adapters of rank {done['rank']} merged into {done['layers']} layers → {done['folder']}")


@weights.command(cls=Command)
def show(source: _Source, as_json: JsonOption = False) -> None:
    """Show the number, types and shapes of each part's tensors, its parameters, and a hash of its values."""
    from imageclef_vqa import devices
    from imageclef_vqa.checkpoints.hub import find_source

    path = find_source(source)
    devices.prepare("cpu", seed=0)

    from imageclef_vqa.checkpoints.show import as_table, summarise
    from imageclef_vqa.checkpoints.source import open_source

    parts = summarise(open_source(path))
    if as_json:
        print_json({part.name: part.as_dict() for part in parts})
    else:
        print_table(as_table(parts))


@weights.command(cls=Command)
def verify(
    source: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder with a checkpoint and its expected.safetensors.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Convert and run a checkpoint, and compare every tensor of expected.safetensors; exit 1 beyond tolerance."""
    from imageclef_vqa import devices

    devices.prepare("cpu", seed=0)

    from imageclef_vqa.checkpoints.show import comparison_table
    from imageclef_vqa.checkpoints.verify import verify as verify_weights

    rows = verify_weights(source)
    passed = all(row.passed for row in rows)
    if as_json:
        print_json({"passed": passed, "tensors": {row.name: row.as_dict() for row in rows}})
    else:
        print_table(comparison_table(rows))
    if not passed:
        raise typer.Exit(1)
