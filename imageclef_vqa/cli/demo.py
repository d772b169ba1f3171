"""`medvqa demo`: the whole chain on images that it draws itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from imageclef_vqa.cli.console import echo
from imageclef_vqa.cli.options import DeviceOption, SeedOption
from imageclef_vqa.errors import program
from imageclef_vqa.workspace import SETTINGS_FILE

TEST_SHARE = 6  # development images per test image

CHAIN = (  # of closed questions
    "split --val 0.2",
    # Few epochs: `tiny` was pre-trained on such images.
    "finetune --stage 1 --preset tiny --epochs 1",
    "finetune --stage 2 --preset tiny --epochs 2 --learning-rate 3e-4",
    "predict",
    # The expert `features` would take as long as all the rest, since it reads four views of each image.
    "route --expert classical",
    "score",
    "package --out run.csv",
    "package --team demo",
    "status",
)
OPEN_CHAIN = (
    "split --val 0.2",
    # `tiny`'s vision knows such images, so it is frozen; the language model starts at random.
    "finetune --stage 2 --preset tiny-open --freeze-vision --epochs 12 --ema 0.9",
    "predict",
    "score",
    "package --out predictions_1.json",
    "check predictions_1.json",
    "status",
)
TEAM = """\
[team]
participant_names = ["A. Nobody"]
affiliations = "Nowhere"
contact_emails = ["nobody@example.org"]
team_name = "demo"
country = "Nowhere"
notes_to_organizers = "drawn images"
"""


EditionOption = Annotated[
    Literal["gi-2023", "medico-2026"],
    typer.Option(help="gi-2023: 18 closed questions, in minutes; medico-2026: open questions and sentences."),
]


def demo(
    context: typer.Context,
    edition: EditionOption = "gi-2023",
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

    from imageclef_vqa.editions import find_edition
    from imageclef_vqa.submission import team_zip
    from imageclef_vqa.synthetic import write_synthetic_dataset

    started, root, asked = time.monotonic(), context.find_root(), find_edition(edition)
    folder = keep or Path(tempfile.mkdtemp(prefix="medvqa-demo-"))
    test = images // TEST_SHARE
    write_synthetic_dataset(folder / "data", images=images, test=test, seed=seed, sentences=asked.open)
    echo(f"drew {images} development and {test} test images in {folder / 'data'}")
    if asked.open:
        (folder / SETTINGS_FILE).write_text(TEAM, encoding="utf-8")
    for line in OPEN_CHAIN if asked.open else CHAIN:
        command, *options = shlex.split(line)
        echo(f"\n$ {program()} {shlex.join([command, *options])}", bold=True)
        options = [str(folder / each) if each == asked.run_file else each for each in options]
        options += ["--workspace", str(folder)]
        if command in ("finetune", "predict"):
            options += ["--device", device]
        if command in ("split", "finetune", "route"):
            options += ["--seed", str(seed)]
        if code := root.command.main([command, *options], prog_name=program(), standalone_mode=False):
            raise typer.Exit(code)
    echo(f"\nthe whole chain took {time.monotonic() - started:.0f} s", bold=True)
    for name, path in (
        ("run file", folder / asked.run_file),
        ("team zip", None if asked.open else folder / team_zip("demo", asked)),
        ("report", folder / "work/main/report.html"),
    ):
        if path is not None:
            echo(f"{name:<10}{path}")
