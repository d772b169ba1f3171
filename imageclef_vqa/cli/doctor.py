"""`medvqa doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imageclef_vqa.cli.options import JsonOption, WorkspaceOption, valid_device_name


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

    from imageclef_vqa.cli.console import print_json
    from imageclef_vqa.doctor import examine
    from imageclef_vqa.workspace import Workspace

    checks = []
    for check in examine(Workspace.at(workspace), None if device == "auto" else device):
        checks.append(check)
        if not as_json:
            mark, colour = _MARKS[check.verdict]
            typer.secho(f"{mark} {check.name:<15} ", fg=colour, nl=False)
            typer.echo(_from_indent(check.found))
            if check.remedy and check.verdict != "good":
                typer.echo(f"{'':{_INDENT}}{_from_indent(check.remedy)}")
    stops = [check.name for check in checks if check.verdict == "stop"]
    if as_json:
        print_json({"checks": [asdict(check) for check in checks], "stops": stops})
    else:
        typer.echo(f"would stop a run: {', '.join(stops)}" if stops else "nothing here would stop a run")
    if stops:
        raise typer.Exit(1)


def _from_indent(text: str) -> str:
    """`text` as a column of its own, as wide as the terminal leaves room for; in a pipe, on one line."""
    import sys
    from shutil import get_terminal_size
    from textwrap import wrap

    if not sys.stdout.isatty():
        return text
    width = max(40, get_terminal_size().columns - _INDENT)
    return f"\n{'':{_INDENT}}".join(wrap(text, width, break_long_words=False, break_on_hyphens=False))


_INDENT = 21
_MARKS = {"good": ("ok  ", "green"), "note": ("note", "yellow"), "stop": ("STOP", "red")}
