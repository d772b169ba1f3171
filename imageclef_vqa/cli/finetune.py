"""`medvqa finetune`."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from imageclef_vqa.cli.console import echo, print_json
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
from imageclef_vqa.errors import counted
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.training.finetune import Finetuned

_ASIDE = {"step", "epoch", "best", "score", "seconds"}  # of a log's last line: not losses
_REFERENCES = ("chance_", "bound_")
_OF_BOTH_STAGES = ("preset", "weights", "recipe", "fold", "seed")

PresetOption = Annotated[
    str | None,
    typer.Option(
        help="Model, as in the table of `plan`, or ENCODER+LANGUAGE, as vit-g+t5-base; folder: the one in --weights.",
        show_default="that of the recipe, or lite; lite-open for open questions",
    ),
]
WeightsOption = Annotated[
    Path | None, typer.Option(help="Folder with the weights of the preset.", show_default="those in the package")
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        help="paper, a name as vit-g-frozen-t5-base, or a TOML file; options named like its keys change it.",
        show_default="the preset's own",
    ),
]
FreshOption = Annotated[bool, typer.Option("--fresh/--resume", help="Train again; what is finished stays until then.")]
FromScratchOption = Annotated[
    bool,
    typer.Option(
        "--from-scratch-parts",
        help="Train although a whole branch starts at random.",
        rich_help_panel="Starting weights",  # a panel of its own has room for the name
    ),
]
DevicesOption = Annotated[
    str | None, typer.Option(help="Several devices, one process each, as in 0,1; on the CPU they share its cores.")
]
TrackOption = Annotated[
    Literal["tensorboard", "visualdl", "wandb", "swanlab"] | None,
    typer.Option(help="Send losses and validation figures to this service, too; log.jsonl always has them."),
]


@with_recipe_options
def finetune(
    context: typer.Context,
    stage: Annotated[int, typer.Option(min=1, max=2, help="1: learn to represent images; 2: learn to answer.")],
    preset: PresetOption = None,
    weights: WeightsOption = None,
    recipe: RecipeOption = None,
    *,
    changes: dict[str, Any],
    fold: FoldOption = 0,
    fresh: FreshOption = False,
    from_scratch_parts: FromScratchOption = False,
    device: DeviceOption = "auto",
    devices: DevicesOption = None,
    seed: SeedOption = 0,
    track: TrackOption = None,
    run: RunOption = "main",
    workspace: WorkspaceOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Train a stage of BLIP-2 on the training fold; a language model that has weights stays frozen."""
    import imageclef_vqa as vqa
    from imageclef_vqa.devices import device_in_use, parse_numbers
    from imageclef_vqa.pipeline.finetune import choose_model
    from imageclef_vqa.training.launch import launch, launched

    if devices is not None and not launched():
        numbers = parse_numbers(devices, device)
        choose_model(Workspace.at(workspace, run), stage, preset, weights, recipe, changes)
        raise typer.Exit(launch(["finetune", *as_typed(context)], numbers))
    done = vqa.finetune(
        workspace,
        stage=stage,
        preset=preset,
        weights=weights,
        recipe=recipe,
        overrides=changes,
        fold=fold,
        fresh=fresh,
        from_scratch_parts=from_scratch_parts,
        device=device,
        seed=seed,
        run=run,
        track=track,
        notify=functools.partial(echo, err=True),
    )
    if not done.first:
        return
    if as_json:
        print_json(_as_json(stage, done, device_in_use()))
    else:
        _print(stage, done, device_in_use(), Workspace.at(workspace, run), as_typed(context, _OF_BOTH_STAGES))


def _as_json(stage: int, done: Finetuned, device: str) -> dict[str, Any]:
    return {
        "stage": stage,
        "folder": str(done.folder),
        "device": device,
        "trained": done.trained,
        "seconds": round(done.seconds, 1),
        "processes": done.processes,
        "resumed": done.resumed,
        **{name: value for name, value in done.last.items() if name != "seconds"},
        "kept_epoch": done.kept.get("epoch"),
        "kept_score": done.kept.get("score"),
    }


def _print(stage: int, done: Finetuned, device: str, workspace: Workspace, options: list[str]) -> None:
    """What was done, and what comes next; `options` are those that stage 2 shares."""
    on = f"{done.processes} processes on {device}" if done.processes > 1 else device
    took = "already finished, nothing to do; --fresh trains it again"
    if done.trained:
        epochs = done.last.get("epoch", 0)
        took = f"{counted(epochs, 'epoch')} on {on} in {done.seconds:.0f} s"
    echo(f"stage {stage}: {took} ({_losses(done.last)})")
    if "score" in done.last:
        echo(_kept(stage, done))
    following = shlex.join(["finetune", "--stage", "2", *options]) if stage == 1 else "predict"
    following = workspace.typed(f"medvqa {following}")
    echo(f"{workspace.shown(done.folder)}; next: `{following}`")


def _losses(record: Mapping[str, Any]) -> str:
    """The losses of an epoch, each beside chance and beside its bound, where those are known."""
    texts = []
    for name, value in record.items():
        if name in _ASIDE or name.startswith(_REFERENCES) or value is None:
            continue
        own = name.removeprefix("val_")
        beside = [f"{kind} {record[f'{kind}_{own}']:.3f}" for kind in ("chance", "bound") if f"{kind}_{own}" in record]
        beside = beside if name.startswith("val_") else []
        texts.append(f"{name} {value:.3f}" + (f" [{', '.join(beside)}]" if beside else ""))
    return ", ".join(texts)


def _kept(stage: int, done: Finetuned) -> str:
    """Which epoch was kept, and that its score was chosen; the last epoch's score beside it."""

    def figure(record: Mapping[str, Any]) -> str:
        score = record.get("score")
        return "no number" if score is None else f"{score:.3f}" if stage == 2 else f"{-score:.3f}"

    kind, kept, last = "exact sets" if stage == 2 else "sum of losses", done.kept, done.last
    if stage == 2 and kept.get("score") == -kept.get("val_answers", 0.0):
        kind = "log-probability of a sentence"  # open questions
    if chance := [value for name, value in kept.items() if name.startswith("chance_")]:
        kind += f" (by chance {sum(chance):.3f})"
    others = "" if kept is last else f"; the last one, {last['epoch']}, has {figure(last)}"
    return f"kept is epoch {kept['epoch']}, chosen by these validation images: {kind} {figure(kept)}{others}"
