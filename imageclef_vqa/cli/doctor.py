"""`medvqa doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imageclef_vqa.cli.options import JsonOption, WorkspaceOption, device_name


def doctor(
    device: Annotated[
        str, typer.Option(help="Try cpu, gpu, npu or one such as npu:1 alone; auto tries all.", callback=device_name)
    ] = "auto",
    workspace: WorkspaceOption = Path("."),
    as_json: JsonOption = False,
) -> None:
    """Look at Python, packages, devices, disk and data: what is there, and what would stop a run."""
    import sys
    from dataclasses import asdict

    from imageclef_vqa.cli.console import print_json
    from imageclef_vqa.doctor import examine
    from imageclef_vqa.workspace import Workspace

    checks = []
    for check in examine(Workspace.at(workspace), None if device == "auto" else device):
        checks.append(check)
        if not as_json:
            mark, colour = _MARKS[check.verdict]
            typer.secho(f"{mark} {check.name:<15} ", fg=colour, nl=False)
            typer.echo(check.found)
            if check.remedy and check.verdict != "good":
                typer.echo("\n".join(_lines(check.remedy, sys.stdout.isatty())))
    stops = [check.name for check in checks if check.verdict == "stop"]
    if as_json:
        print_json({"checks": [asdict(check) for check in checks], "stops": stops})
    else:
        typer.echo(f"would stop a run: {', '.join(stops)}" if stops else "nothing here would stop a run")
    if stops:
        raise typer.Exit(1)


def _lines(text: str, fold: bool) -> list[str]:
    """Below what was found, and no wider than the terminal."""
    from shutil import get_terminal_size
    from textwrap import wrap

    lines = wrap(text, max(20, get_terminal_size().columns - _INDENT), break_long_words=False) if fold else [text]
    return [f"{'':{_INDENT}}{line}" for line in lines]


_INDENT = 21
_MARKS = {"good": ("ok  ", "green"), "note": ("note", "yellow"), "stop": ("STOP", "red")}
