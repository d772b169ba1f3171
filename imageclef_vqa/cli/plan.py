"""`medvqa plan`."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imageclef_vqa.cli.options import JsonOption
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.environment import size_of
from imageclef_vqa.errors import UsageError

if TYPE_CHECKING:
    from imageclef_vqa.planning import Plan, Setting

_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
# What the paper's table 2 says of each.
_PAPER = {"vit-l-t5-base": 715e6, "vit-g-t5-base": 1.4e9, "vit-g-t5-3b": 4.2e9, "vit-g-glm-6b": 7.2e9}


class _Stage(str, enum.Enum):
    ONE, TWO, PREDICT = "1", "2", "predict"


class _Precision(str, enum.Enum):
    FP32, FP16, BF16 = "fp32", "fp16", "bf16"


class _Bits(str, enum.Enum):
    FULL, HALF, QUARTER = "32", "16", "8"


def plan(
    preset: Annotated[str | None, typer.Option(help="Which BLIP-2.", show_default="a line for each")] = None,
    stage: Annotated[_Stage, typer.Option(help="Of training, or prediction.")] = _Stage.TWO,
    image_size: Annotated[int | None, typer.Option(min=1, help="Pixels.", show_default="the preset's")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images per step.", show_default="the recipe's")] = None,
    accumulate: Annotated[
        int | None, typer.Option(min=1, help="Parts that a step is computed in.", show_default="the recipe's")
    ] = None,
    questions: Annotated[
        int | None, typer.Option(min=1, max=len(QUESTIONS), help="Of an image, per step.", show_default="the recipe's")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, show_default="the recipe's")] = None,
    images: Annotated[int, typer.Option(min=1, help="In the training fold, or to predict.")] = 1800,
    precision: Annotated[_Precision, typer.Option(help="To compute in.")] = _Precision.FP32,
    language_bits: Annotated[_Bits, typer.Option(help="In which the frozen language model is stored.")] = _Bits.HALF,
    devices: Annotated[int, typer.Option(min=1, help="How many share a step.")] = 1,
    memory: Annotated[str, typer.Option(help="Of one device: 32GB, 24GiB.")] = "32GB",
    flops: Annotated[str, typer.Option(help="Sustained by one device, per second: 100T.")] = "100T",
    freeze_vision: Annotated[bool, typer.Option("--freeze-vision", help="The paper's asterisk: stage 2.")] = False,
    recompute: Annotated[bool, typer.Option("--recompute", help="Vision's activations, not kept.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Parameters, memory, time: what a preset needs, before anything is fetched or allocated."""
    from dataclasses import replace

    from imageclef_vqa.cli.console import print_json
    from imageclef_vqa.models.presets import PRESETS, find_preset
    from imageclef_vqa.planning import Setting, make_plan, smallest_change
    from imageclef_vqa.training.recipe import choose_recipe

    room, rate = _quantity("--memory", memory, "B"), _quantity("--flops", flops, "FLOP/S")

    def setting_of(name: str) -> Setting:
        chosen = find_preset(name)
        size = image_size or chosen.vision.image_size
        if size % chosen.vision.patch_size:
            raise UsageError(f"--image-size {size}: not a multiple of {name}'s patches of {chosen.vision.patch_size}")
        changes = {"batch": batch, "accumulate": accumulate, "epochs": epochs}
        if stage is not _Stage.ONE:
            changes |= {"questions": questions, "freeze_vision": freeze_vision or None}
        _, recipe = choose_recipe(1 if stage is _Stage.ONE else 2, preset=name, changes=changes)
        return Setting(
            preset=replace(chosen, vision=replace(chosen.vision, image_size=size, recompute=recompute)),
            stage=stage.value,
            recipe=recipe,
            precision=precision.value,
            devices=devices,
            language_bits=int(language_bits.value),
            images=images,
        )

    results = []
    for name in [preset] if preset else PRESETS:
        setting = setting_of(name)
        made = make_plan(setting)
        change = None if made.peak <= room else smallest_change(setting, room)
        results.append(_summary(setting, made, room, rate, change and (change[0], make_plan(change[1]).peak)))
    if as_json:
        print_json(results[0] if preset else results)
    elif preset:
        _show_one(results[0])
    else:
        _show_all(results, stage.value)


def _quantity(option: str, text: str, unit: str) -> float:
    found = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*([KMGTP]?I?)(?:{unit})?", text.strip().upper())
    if not found or found[2] not in _UNITS or not float(found[1]):
        raise UsageError(f"{option} {text}: a number and a unit, as in 32GB, 24GiB, 100T")
    return float(found[1]) * _UNITS[found[2]]


def _summary(
    setting: Setting, made: Plan, room: float, rate: float, change: tuple[list[str], float] | None
) -> dict[str, Any]:
    name = setting.preset.name
    return {
        "preset": name,
        "stage": setting.stage,
        "parameters": {
            "total": made.counts.total,
            "trained": made.trained,
            "vision": made.counts.vision,
            "qformer": made.counts.qformer,
            "qformer_text": made.counts.text,
            "projection": made.counts.projection,
            "language": made.counts.language,
            "stage_1_heads": made.heads,
            "paper": _PAPER.get(name),
        },
        "memory": {part: round(size) for part, size in made.parts.items()}
        | {"peak": round(made.peak), "device": round(room), "host_features": round(made.host)},
        "images_per_device": setting.per_device,
        "flops_per_step": made.operations * setting.devices,
        "steps": made.steps,
        "seconds": made.seconds(rate),
        "fits": made.peak <= room,
        "change": change and {"what": change[0], "peak": round(change[1])},
    }


def _show_one(result: dict[str, Any]) -> None:
    from rich.table import Table

    from imageclef_vqa.cli.console import print_table

    numbers, memory = result["parameters"], result["memory"]
    table = Table(title=f"{result['preset']}, {_stage(result['stage'])}", show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    paper = f" (the paper: {_count(numbers['paper'])})" if numbers["paper"] else ""
    table.add_row("parameters", _count(numbers["total"]) + paper)
    for part in ("vision", "qformer", "qformer_text", "projection", "language", "stage_1_heads"):
        if numbers[part]:
            table.add_row(f"  {_LABELS.get(part, part)}", _count(numbers[part]))
    table.add_row("  trained", _count(numbers["trained"]), end_section=True)
    table.add_row("memory of a device, at its peak", size_of(memory["peak"]))
    for part in ("weights", "gradients", "optimiser", "activations", "cache", "program", "slack"):
        table.add_row(f"  {part}", size_of(memory[part]))
    table.add_row("beside it, frozen features", size_of(memory["host_features"]), end_section=True)
    table.add_row("operations of a step", f"{result['flops_per_step'] / 1e12:.3g} TFLOP")
    table.add_row("steps", f"{result['steps']:,}")
    table.add_row("time", _time(result["seconds"]))
    print_table(table)
    typer.echo(_verdict(result))


def _show_all(results: list[dict[str, Any]], stage: str) -> None:
    from rich.table import Table

    from imageclef_vqa.cli.console import print_table

    table = Table("preset", title=_stage(stage), title_justify="left")
    for title in ("parameters", "paper", "trained", "peak", "time", "fits"):
        table.add_column(title, justify="right")
    for result in results:
        numbers = result["parameters"]
        table.add_row(
            result["preset"],
            _count(numbers["total"]),
            _count(numbers["paper"]) if numbers["paper"] else "",
            _count(numbers["trained"]),
            size_of(result["memory"]["peak"]),
            _time(result["seconds"]),
            "yes" if result["fits"] else "no",
        )
    print_table(table)
    typer.echo("--preset NAME shows one in full, with what would make it fit")


_LABELS = {"qformer": "Q-Former", "qformer_text": "Q-Former, text", "stage_1_heads": "stage 1's heads"}


def _stage(stage: str) -> str:
    return "prediction" if stage == "predict" else f"stage {stage}"


def _verdict(result: dict[str, Any]) -> str:
    peak, room = (size_of(result["memory"][name]) for name in ("peak", "device"))
    if result["fits"]:
        return f"fits: {peak} of {room}"
    if result["change"] is None:
        return f"does not fit: {peak} of {room}, and no change of options is enough"
    return "\n  ".join(
        [
            f"does not fit: {peak} of {room}; {size_of(result['change']['peak'])} with the smallest change that helps:",
            *result["change"]["what"],
        ]
    )


def _count(number: float) -> str:
    return f"{number / 1e9:.2f}B" if number >= 1e9 else f"{number / 1e6:.1f}M"


def _time(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
