"""`medvqa doctor`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from imageclef_vqa.cli.options import JsonOption, WorkspaceOption


class Kind(str, Enum):
    cpu = "cpu"
    gpu = "gpu"
    npu = "npu"


def doctor(
    device: Annotated[Kind | None, typer.Option(help="Try devices of this kind alone.", show_default="all")] = None,
    workspace: WorkspaceOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Look at Python, packages, devices, disk and data: what is there, and what would stop a run."""
    from dataclasses import asdict

    from imageclef_vqa.cli.console import print_json
    from imageclef_vqa.doctor import examine
    from imageclef_vqa.workspace import Workspace

    checks = []
    for check in examine(Workspace.at(workspace), device and device.value):
        checks.append(check)
        if not as_json:
            mark, colour = _MARKS[check.verdict]
            typer.secho(f"{mark} {check.name:<15} ", fg=colour, nl=False)
            typer.echo(check.found)
            if check.remedy and check.verdict != "good":
                typer.echo(f"{'':21}{check.remedy}")
    stops = [check.name for check in checks if check.verdict == "stop"]
    if as_json:
        print_json({"checks": [asdict(check) for check in checks], "stops": stops})
    else:
        typer.echo(f"would stop a run: {', '.join(stops)}" if stops else "nothing here would stop a run")
    if stops:
        raise typer.Exit(1)


_MARKS = {"good": ("ok  ", "green"), "note": ("note", "yellow"), "stop": ("STOP", "red")}
