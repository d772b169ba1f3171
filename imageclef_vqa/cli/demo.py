"""`medvqa demo`: the whole chain on images that it draws itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imageclef_vqa.cli.console import echo
from imageclef_vqa.cli.options import DeviceOption, SeedOption
from imageclef_vqa.errors import program

TEST_SHARE = 6  # development images per test image

CHAIN = (
    "split --val 0.2",
    # Few epochs: `tiny` was pre-trained on such images.
    "finetune --stage 1 --epochs 2",
    "finetune --stage 2 --epochs 3 --learning-rate 3e-4",
    "predict",
    "route",
    "score",
    "package --out run.csv",
    "package --team demo",
    "status",
)


def demo(
    context: typer.Context,
    images: Annotated[int, typer.Option(min=40, help="Development images to draw.")] = 300,
    keep: Annotated[
        Path | None,
        typer.Option(help="New folder for the data and the run.", show_default="a temporary folder, kept"),
    ] = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
) -> None:
    """Draw a small endoscopy set and run the chain on it, from split to package."""
    import shlex
    import tempfile
    import time

    from imageclef_vqa.editions import GI_2023
    from imageclef_vqa.submission import team_zip
    from imageclef_vqa.synthetic import write_synthetic_dataset

    started, root = time.monotonic(), context.find_root()
    folder = keep or Path(tempfile.mkdtemp(prefix="medvqa-demo-"))
    write_synthetic_dataset(folder / "data", images=images, test=images // TEST_SHARE, seed=seed)
    echo(f"drew {images} development and {images // TEST_SHARE} test images in {folder / 'data'}")
    for line in CHAIN:
        command, *options = shlex.split(line)
        echo(f"\n$ {program()} {shlex.join([command, *options])}", bold=True)
        if options[:1] == ["--out"]:
            options[-1] = str(folder / options[-1])
        options += ["--workspace", str(folder)]
        if command in ("finetune", "predict"):
            options += ["--device", device]
        if command in ("split", "finetune", "route"):
            options += ["--seed", str(seed)]
        if code := root.command.main([command, *options], prog_name=program(), standalone_mode=False):
            raise typer.Exit(code)
    echo(f"\nthe whole chain took {time.monotonic() - started:.0f} s", bold=True)
    for name, path in (
        ("run file", folder / "run.csv"),
        ("team zip", folder / team_zip("demo", GI_2023)),
        ("report", folder / "work/main/report.html"),
    ):
        echo(f"{name:<10}{path}")
