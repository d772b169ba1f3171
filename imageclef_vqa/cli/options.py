"""Options that several commands share, and `medvqa.toml` as the default of every option."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Annotated, Any

import typer

from imageclef_vqa.editions import EDITIONS


def _defaults_from_settings(ctx: typer.Context, workspace: Path) -> Path:
    """Make `[command] option = value` in the workspace's `medvqa.toml` the default of that option."""
    from imageclef_vqa.cli.settings import check_settings

    if commands := getattr(ctx.find_root().command, "commands", {}):
        settings = check_settings(workspace, commands)
        if ctx.parent is ctx.find_root():
            ctx.default_map = settings.get(ctx.info_name or "", {})
    return workspace


def choices(*names: str) -> dict[str, Any]:
    """Settings of an option with `names` for values, where `Literal` does not do: Typer (0.25) takes no list of it."""

    def check(name: str) -> str:
        if name not in names:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(names)}.")
        return name

    return {"parser": check, "metavar": f"[{'|'.join(names)}]"}


def valid_device_name(device: str) -> str:
    """`device`, if a device may have that name; `UsageError` otherwise."""
    from imageclef_vqa.devices import check_name

    return check_name(device)


def _possible_device(device: str) -> str:
    """`device`, unless this machine cannot have it; found out before Paddle is imported, which takes seconds."""
    from imageclef_vqa.devices import check_device

    return check_device(device)


def as_typed(context: typer.Context, only: Container[str] | None = None) -> list[str]:
    """The options that the user typed, or `only` these parameters, for starting a command with them."""
    typed: list[str] = []
    for parameter in context.command.params:
        source, value = context.get_parameter_source(parameter.name or ""), context.params.get(parameter.name or "")
        wanted = only is None or parameter.name in only
        if wanted and source is not None and source.name == "COMMANDLINE":
            off = value is False and parameter.secondary_opts
            typed += [off[0]] if off else [parameter.opts[0]] + ([] if value is True else [str(value)])
    return typed


# Eager: its callback reads medvqa.toml before the other options look for their defaults.
WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace",
        "-w",
        help="Folder with data/ and work/.",
        is_eager=True,
        callback=_defaults_from_settings,
        show_default="the current folder",
    ),
]
RunOption = Annotated[str, typer.Option(help="Name of the run; its files are in work/<run>/.")]
RunsOption = Annotated[
    list[str] | None, typer.Option("--run", help="Name of the run; several runs are averaged.", show_default="main")
]
FoldOption = Annotated[int, typer.Option(min=0, help="Fold to validate on, after `split --folds`.")]
SeedOption = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of all random numbers.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")]
DeviceOption = Annotated[
    str,
    typer.Option(
        help="cpu, gpu, gpu:<i>, npu, npu:<i>; auto: an NPU, else a GPU, else the CPU.", callback=_possible_device
    ),
]
EditionOption = Annotated[
    str | None,
    typer.Option(
        "--edition",
        **choices(*EDITIONS),
        help="Edition of the challenge.",
        show_default="edition of [data] in medvqa.toml, or gi-2023",
    ),
]
AnswersOption = Annotated[
    str | None,
    typer.Option(
        help="Answers of the run: routed, plain (BLIP-2's), or the --name of a variant of `predict`.",
        show_default="routed if there are any, else plain",
    ),
]
