"""`medvqa plan`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from imageclef_vqa.cli.console import echo, print_json, print_table
from imageclef_vqa.cli.options import JsonOption
from imageclef_vqa.environment import size_of
from imageclef_vqa.errors import UsageError

_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_RECIPE = "the recipe's"


def plan(
    preset: Annotated[str | None, typer.Option(help="Model to plan.", show_default="a line for each")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of weights, for --preset folder.")] = None,
    stage: Annotated[Literal["1", "2", "predict"], typer.Option(help="Stage of training, or prediction.")] = "2",
    image_size: Annotated[int | None, typer.Option(min=1, help="In pixels.", show_default="the preset's")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images or pairs per step.", show_default=_RECIPE)] = None,
    batch_unit: Annotated[
        Literal["images", "pairs"] | None, typer.Option(help="What a batch counts.", show_default=_RECIPE)
    ] = None,
    accumulate: Annotated[int | None, typer.Option(min=1, help="Parts of a step.", show_default=_RECIPE)] = None,
    questions: Annotated[int | None, typer.Option(min=1, help="Questions per image.", show_default=_RECIPE)] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of training.", show_default=_RECIPE)] = None,
    images: Annotated[int, typer.Option(min=1, help="Images to train on, or to predict.")] = 1800,
    precision: Annotated[Literal["fp32", "fp16", "bf16"], typer.Option(help="Precision of products.")] = "fp32",
    language_bits: Annotated[
        Literal["32", "16", "8"], typer.Option(help="Bits per stored weight of the frozen language model.")
    ] = "16",
    devices: Annotated[int, typer.Option(min=1, help="Devices that share a step.")] = 1,
    memory: Annotated[str, typer.Option(help="Memory of one device: 32GB, 24GiB.")] = "32GB",
    flops: Annotated[str, typer.Option(help="Sustained operations per second of one device: 100T.")] = "100T",
    freeze_vision: Annotated[bool, typer.Option("--freeze-vision", help="Do not train vision in stage 2.")] = False,
    lora_rank: Annotated[
        int | None, typer.Option(min=0, help="Rank of adapters of the language model.", show_default=_RECIPE)
    ] = None,
    lora_targets: Annotated[
        Literal["attention", "all-linear"] | None, typer.Option(help="Layers with adapters.", show_default=_RECIPE)
    ] = None,
    recompute: Annotated[bool, typer.Option("--recompute", help="Do not keep vision's activations.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the parameters, memory and time that a preset needs, before anything is fetched or allocated."""
    from imageclef_vqa.models.presets import PRESETS
    from imageclef_vqa.pipeline.plan import plan as plan_presets

    summaries = plan_presets(
        [preset] if preset else list(PRESETS),
        stage,
        weights=weights,
        memory=_quantity("--memory", memory, "B"),
        rate=_quantity("--flops", flops, "FLOP/S"),
        image_size=image_size,
        recompute=recompute,
        questions=questions,
        batch=batch,
        batch_unit=batch_unit,
        accumulate=accumulate,
        epochs=epochs,
        freeze_vision=freeze_vision,
        lora_rank=lora_rank,
        lora_targets=lora_targets,
        images=images,
        precision=precision,
        language_bits=int(language_bits),
        devices=devices,
    )
    if as_json:
        print_json(summaries[0] if preset else summaries)
    elif preset:
        _show_one(summaries[0])
    else:
        _show_all(summaries, stage)


def _quantity(option: str, text: str, unit: str) -> float:
    found = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*([KMGTP]?I?)(?:{unit})?", text.strip().upper())
    if not found or found[2] not in _UNITS or not float(found[1]):
        raise UsageError(f"{option} {text}: use a number and a unit, as in 32GB, 24GiB, 100T")
    return float(found[1]) * _UNITS[found[2]]


def _show_one(result: dict[str, Any]) -> None:
    from rich.table import Table

    from imageclef_vqa.planning import PARTS

    numbers, memory = result["parameters"], result["memory"]
    table = Table(title=f"{result['preset']}, {_stage(result['stage'])}", show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    paper = f" (the paper: {_count(numbers['paper'])})" if numbers["paper"] else ""
    table.add_row("parameters", _count(numbers["total"]) + paper)
    for part in ("vision", "qformer", "qformer_text", "projection", "language", "adapters", "stage_1_heads"):
        if numbers[part]:
            table.add_row(f"  {_LABELS.get(part, part)}", _count(numbers[part]))
    table.add_row("  trained", _count(numbers["trained"]), end_section=True)
    table.add_row("peak memory of a device", size_of(memory["peak"]))
    for part in PARTS:
        table.add_row(f"  {part}", size_of(memory[part]))
    table.add_row("frozen features on disk", size_of(memory["disk_features"]), end_section=True)
    table.add_row("operations of a step", f"{result['flops_per_step'] / 1e12:.3g} TFLOP")
    table.add_row("operations of a pair", _operations(result["flops_per_pair"]))
    table.add_row("  pair by pair", _operations(result["flops_pair_by_pair"]))
    table.add_row("  ratio", f"{result['flops_pair_by_pair'] / result['flops_per_pair']:.1f}")
    table.add_row("steps", f"{result['steps']:,}")
    table.add_row("time", _time(result["seconds"]))
    print_table(table)
    echo(_assumptions(result))
    echo(_PAIRS)
    echo(_verdict(result))


def _show_all(results: list[dict[str, Any]], stage: str) -> None:
    from rich.table import Table

    table = Table(title=_stage(stage), title_justify="left")
    table.add_column("preset", no_wrap=True)  # the name that --preset takes
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
    print_table(_operations_of_a_pair(results))
    echo(_assumptions(results[0]))
    echo(_PAIRS)
    echo("--preset NAME shows one preset in detail, with the options that make it fit")


_PAIRS = (
    "pair by pair: vision and Q-Former run for every pair of image and question, frozen vision at every step; the "
    "ratio of times is smaller than that of operations where a device waits for memory"
)
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
            f"does not fit: {peak} of {room}; {size_of(result['change']['peak'])} with the smallest change that fits:",
            *result["change"]["what"],
        ]
    )


def _assumptions(result: dict[str, Any]) -> str:
    room, rate = size_of(result["memory"]["device"]), result["rate"] / 1e12
    return (
        f"for devices with {room} of memory (--memory) that sustain {rate:g} TFLOP per second (--flops), "
        f"{result['devices']} of them (--devices), and {result['images']:,} images (--images)"
    )


def _operations_of_a_pair(results: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table(title="operations of a pair", title_justify="left")
    table.add_column("preset", no_wrap=True)
    for title in ("an image's questions together", "pair by pair", "ratio"):
        table.add_column(title, justify="right")
    for result in results:
        together, single = result["flops_per_pair"], result["flops_pair_by_pair"]
        table.add_row(result["preset"], _operations(together), _operations(single), f"{single / together:.1f}")
    return table


def _operations(number: float) -> str:
    size, unit = next(each for each in ((1e12, "T"), (1e9, "G"), (1e6, "M")) if number >= each[0] or each[1] == "M")
    return f"{number / size:.3g} {unit}FLOP"


def _count(number: float) -> str:
    if number >= 1e9:
        return f"{number / 1e9:.2f}B"
    return f"{number / 1e6:.1f}M" if number >= 1e5 else f"{number / 1e3:.1f}K"


def _time(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 0.5 else "< 1 s"
