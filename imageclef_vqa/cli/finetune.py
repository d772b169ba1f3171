"""`medvqa finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imageclef_vqa.cli.options import DeviceOption, JsonOption, RunOption, SeedOption, WorkspaceOption


def finetune(
    stage: Annotated[int, typer.Option(min=1, max=2, help="1: representation learning; 2: learning to answer.")],
    preset: Annotated[str, typer.Option(help="Which BLIP-2; `medvqa plan` lists them.")] = "tiny",
    weights: Annotated[
        Path | None, typer.Option(help="Folder with the preset's weights.", show_default="those in the package")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, show_default="the recipe's")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images per step.", show_default="the recipe's")] = None,
    questions: Annotated[
        int | None, typer.Option(min=1, max=18, help="Of an image, per step.", show_default="the recipe's")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(show_default="the recipe's")] = None,
    freeze_vision: Annotated[bool, typer.Option("--freeze-vision", help="The paper's asterisk: stage 2.")] = False,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Make vision's activations twice: slower, in less memory.")
    ] = False,
    fold: Annotated[int, typer.Option(min=0, help="Which fold to validate on, after `split --folds`.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over; an unfinished run is not gone on with.")] = False,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    run: RunOption = "main",
    workspace: WorkspaceOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Train a stage of BLIP-2 on the training fold; the language model stays as it is."""
    from dataclasses import replace

    from imageclef_vqa import runtime
    from imageclef_vqa.cli.console import note, print_json
    from imageclef_vqa.models.presets import find_preset
    from imageclef_vqa.training.recipe import recipe_for
    from imageclef_vqa.workspace import Workspace

    place, chosen = Workspace.at(workspace, run), find_preset(preset, weights)
    chosen = replace(chosen, vision=replace(chosen.vision, recompute=recompute))
    _ = chosen.folder  # complains before Paddle is imported, which takes seconds
    frozen = False if freeze_vision else None
    recipe = recipe_for(
        preset,
        stage,
        epochs=epochs,
        batch=batch,
        questions=questions,
        learning_rate=learning_rate,
        train_vision=frozen,
    )
    on = runtime.prepare(device, seed=seed)

    from imageclef_vqa.training.finetune import finetune as train_stage

    done = train_stage(place, chosen, recipe, stage, seed=seed, fold=fold, fresh=fresh, say=note)
    if as_json:
        print_json(
            {
                "stage": stage,
                "folder": str(done.folder),
                "device": on,
                "trained": done.trained,
                "seconds": round(done.seconds, 1),
                **done.last,
            }
        )
    else:
        losses = ", ".join(f"{name} {value:.3f}" for name, value in done.last.items() if name != "epoch")
        took = f"{recipe.epochs} epochs on {on} in {done.seconds:.0f} s"
        typer.echo(f"stage {stage}: {took if done.trained else 'already trained, --fresh trains it anew'} ({losses})")
        typer.echo(f"{place.shown(done.folder)}; next: `medvqa {'finetune --stage 2' if stage == 1 else 'predict'}`")
