"""`medvqa doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imageclef_vqa.cli.console import echo, print_json
from imageclef_vqa.cli.options import JsonOption, WorkspaceOption, valid_device_name
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.doctor import Check


def doctor(
    device: Annotated[
        str,
        typer.Option(help="Test only cpu, gpu, npu or one such as npu:1; auto: all.", callback=valid_device_name),
    ] = "auto",
    workspace: WorkspaceOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Check Python, packages, devices, disk and data for what would stop a run."""
    from dataclasses import asdict

    from imageclef_vqa.doctor import examine

    checks = []
    for check in examine(Workspace.at(workspace), None if device == "auto" else device):
        checks.append(check)
        if not as_json:
            _print(check)
    stops = [check.name for check in checks if check.verdict == "stop"]
    if as_json:
        print_json({"checks": [asdict(check) for check in checks], "stops": stops})
    else:
        echo(f"would stop a run: {', '.join(stops)}" if stops else "nothing here would stop a run")
    if stops:
        raise typer.Exit(1)


def _print(check: Check) -> None:
    mark, colour = _MARKS[check.verdict]
    echo(f"{mark} {check.name:<15} ", fg=colour, nl=False)
    echo(check.found, start=_INDENT, hanging=_INDENT)
    if check.remedy and check.verdict != "good":
        echo(f"{'':{_INDENT}}{check.remedy}", hanging=_INDENT)


_INDENT = 21
_MARKS = {"good": ("ok  ", "green"), "note": ("note", "yellow"), "stop": ("STOP", "red")}
