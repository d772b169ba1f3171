"""`medvqa demo`: the whole chain on pictures that it draws itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imageclef_vqa.cli.options import DeviceOption, SeedOption

TEST_SHARE = 6  # one test image for so many development images

CHAIN = (
    "split --val 0.2",
    # `tiny` has seen drawn pictures before: little is left to learn.
    "finetune --stage 1 --epochs 2",
    "finetune --stage 2 --epochs 3 --learning-rate 3e-4",
    "predict",
    "route",
    "score",
    "package --out run.csv",
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

    from imageclef_vqa.synthetic import write_synthetic_dataset

    started, program = time.monotonic(), context.find_root().command
    place = keep or Path(tempfile.mkdtemp(prefix="medvqa-demo-"))
    write_synthetic_dataset(place / "data", images=images, test=images // TEST_SHARE, seed=seed)
    typer.echo(f"drew {images} development and {images // TEST_SHARE} test images in {place / 'data'}")
    for line in CHAIN:
        command, *options = shlex.split(line)
        typer.secho(f"\n$ medvqa {shlex.join([command, *options])}", bold=True)
        if command == "package":
            options[-1] = str(place / options[-1])
        options += ["--workspace", str(place)]
        if command in ("finetune", "predict"):
            options += ["--device", device]
        if command in ("split", "finetune", "route"):
            options += ["--seed", str(seed)]
        if code := program.main([command, *options], prog_name="medvqa", standalone_mode=False):
            raise typer.Exit(code)
    typer.secho(f"\nthe whole chain took {time.monotonic() - started:.0f} s", bold=True)
    typer.echo(f"run file  {place / 'run.csv'}\nreport    {place / 'work' / 'main' / 'report.html'}")
