"""`medvqa finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from imageclef_vqa.cli.options import (
    DeviceOption,
    FoldOption,
    JsonOption,
    RunOption,
    SeedOption,
    WorkspaceOption,
    as_typed,
)
from imageclef_vqa.cli.recipe_options import with_recipe_options

_ASIDE = {"step", "epoch", "best", "score", "seconds"}  # of a log's last line: not losses


@with_recipe_options
def finetune(
    context: typer.Context,
    stage: Annotated[int, typer.Option(min=1, max=2, help="1: learn to represent images; 2: learn to answer.")],
    preset: Annotated[
        str | None,
        typer.Option(
            help="Model, as in the table of `plan`; folder: the one in --weights.",
            show_default="that of the recipe, or tiny",
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder with the weights of the preset.", show_default="those in the package")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="paper, or a TOML file as in examples/recipes; options named like its keys change it.",
            show_default="the preset's own",
        ),
    ] = None,
    *,
    changes: dict[str, Any],
    fold: FoldOption = 0,
    fresh: Annotated[bool, typer.Option("--fresh/--resume", help="Start over, or continue an unfinished run.")] = False,
    device: DeviceOption = "auto",
    devices: Annotated[
        str | None, typer.Option(help="Several devices, one process each, as in 0,1; on the CPU they share its cores.")
    ] = None,
    seed: SeedOption = 0,
    run: RunOption = "main",
    workspace: WorkspaceOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Train a stage of BLIP-2 on the training fold; the language model stays frozen."""
    from imageclef_vqa.checkpoints.folder import choose_preset
    from imageclef_vqa.cli.console import print_json, wrapped
    from imageclef_vqa.devices import parse_devices, prepare
    from imageclef_vqa.errors import UsageError
    from imageclef_vqa.training.launch import launch, launched
    from imageclef_vqa.training.recipe import choose_recipe
    from imageclef_vqa.workspace import Workspace

    place = Workspace.at(workspace, run)
    name, chosen = choose_recipe(stage, preset=preset, recipe=recipe, changes=changes)
    model = choose_preset(name, weights)
    _ = model.folder  # complains before Paddle is imported, which takes seconds
    if devices is not None and not launched():
        numbers = parse_devices(devices, device)
        if not all(number.isdigit() for number in numbers):
            raise UsageError(f"--devices {devices}: finetune wants numbers, as in 0,1, and their kind in --device")
        raise typer.Exit(launch(["finetune", *as_typed(context)], numbers))
    on = prepare(device, seed=seed)

    from imageclef_vqa.training.finetune import finetune as train_stage

    def notify(message: str) -> None:
        typer.echo(message, err=True)

    done = train_stage(place, model, chosen, stage, seed=seed, fold=fold, fresh=fresh, notify=notify)
    if not done.first:
        return
    if as_json:
        print_json(
            {
                "stage": stage,
                "folder": str(done.folder),
                "device": on,
                "trained": done.trained,
                "seconds": round(done.seconds, 1),
                "processes": done.processes,
                "resumed": done.resumed,
                **{name: value for name, value in done.last.items() if name != "seconds"},
            }
        )
    else:
        figures = {name: value for name, value in done.last.items() if name not in _ASIDE}
        losses = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
        several = f"{done.processes} processes on {on}" if done.processes > 1 else on
        took = "already trained, --fresh trains it anew"
        if done.trained:
            took = f"{done.last.get('epoch', 0)} epochs on {several} in {done.seconds:.0f} s"
        typer.echo(wrapped(f"stage {stage}: {took} ({losses})"))
        typer.echo(f"{place.shown(done.folder)}; next: `medvqa {'finetune --stage 2' if stage == 1 else 'predict'}`")
