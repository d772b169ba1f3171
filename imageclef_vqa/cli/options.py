"""Options that several commands share, and `medvqa.toml` as the default of every option."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from imageclef_vqa.errors import UsageError
from imageclef_vqa.workspace import SETTINGS_FILE, read_settings


def check_settings(workspace: Path, commands: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables of the workspace's `medvqa.toml`, every one a command's and every key an option's.

    Raises:
        UsageError: a table or a key that does not exist.
    """
    settings, path = read_settings(workspace), workspace / SETTINGS_FILE
    if unknown := sorted(set(settings) - set(commands) - {"data"}):
        raise UsageError(f"{path}: no command is called {', '.join(unknown)}")
    for name in set(settings) & set(commands):
        known = {parameter.name for parameter in commands[name].params}
        if unknown := sorted(key for key in settings[name] if key.replace("-", "_") not in known):
            raise UsageError(
                f"{path}: [{name}] has no option {', '.join(unknown)}", remedy=f"`medvqa {name} --help` lists them"
            )
    return settings


def _defaults_from_settings(ctx: typer.Context, workspace: Path) -> Path:
    """Let `[command] option = value` in the workspace's `medvqa.toml` stand for the option itself."""
    commands = getattr(ctx.parent.command, "commands", {}) if ctx.parent is not None else {}
    if commands and ctx.parent is ctx.find_root():
        table = check_settings(workspace, commands).get(ctx.info_name or "", {})
        several = {parameter.name for parameter in ctx.command.params if getattr(parameter, "multiple", False)}
        named = {key.replace("-", "_"): value for key, value in table.items()}
        # `run = "main"` for an option that may be repeated is one value of it, and no sequence of letters.
        ctx.default_map = {
            name: [value] if name in several and not isinstance(value, list) else value for name, value in named.items()
        }
    return workspace


def device_name(device: str) -> str:
    """What no device can be called is a mistake of the command line."""
    from imageclef_vqa.devices import check_name

    return check_name(device)


def _device_that_may_be_there(device: str) -> str:
    """What can be said against a device before anything is done is said."""
    from imageclef_vqa.devices import check_device

    return check_device(device)


def as_typed(context: typer.Context) -> list[str]:
    """The options of a command that came from its command line, to be typed again."""
    typed: list[str] = []
    for parameter in context.command.params:
        source, value = context.get_parameter_source(parameter.name or ""), context.params.get(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            off = value is False and parameter.secondary_opts
            typed += [off[0]] if off else [parameter.opts[0]] + ([] if value is True else [str(value)])
    return typed


# Read first (eager), so that its settings are there when the other options look for their defaults.
WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace",
        "-w",
        help="The folder that holds data/ and work/.",
        is_eager=True,
        callback=_defaults_from_settings,
        show_default="the current folder",
    ),
]
RunOption = Annotated[str, typer.Option(help="Name of the run: its files lie in work/<run>/.")]
SeedOption = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Everything random follows from it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON, nothing else.")]
DeviceOption = Annotated[
    str,
    typer.Option(
        help="cpu, gpu, gpu:<i>, npu, npu:<i>; auto takes the first there is.", callback=_device_that_may_be_there
    ),
]
EditionOption = Annotated[str, typer.Option("--edition", help="The edition of the challenge: gi-2023 or gi-2025.")]
