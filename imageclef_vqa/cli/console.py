"""What commands print: lines, tables, notes for people, and JSON for scripts."""

from __future__ import annotations

import json
import sys
from shutil import get_terminal_size
from textwrap import fill
from typing import TYPE_CHECKING, Any

import typer

from imageclef_vqa.errors import as_called

if TYPE_CHECKING:
    from rich.table import Table
    from rich.tree import Tree

_PIPE_WIDTH = 120


def echo(message: object = "", **style: Any) -> None:
    """Print a line, with the commands in it under the name that the user typed; `style` as for `typer.secho`."""
    typer.secho(as_called(str(message)), **style)


def note(message: str) -> None:
    """Print a note to a person at a terminal's standard error; elsewhere, only warnings."""
    if message.startswith("warning: "):
        echo(message, fg="yellow", err=True)
    elif sys.stderr.isatty():
        echo(message, dim=True, err=True)


def wrapped(text: str, indent: int = 0, hanging: int = 2) -> str:
    """`text` wrapped to the terminal's width; in a pipe, which has no width, on one line.

    The first line starts in column `indent`, the others in column `hanging`.
    """
    text = as_called(text)
    if not sys.stdout.isatty():
        return text
    filled = fill(
        text,
        max(40, get_terminal_size().columns),
        initial_indent=" " * indent,
        subsequent_indent=" " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled[indent:]


def print_table(table: Table | Tree) -> None:
    """Print a table as wide as the terminal; in a pipe, which has no width, at least 120 columns wide."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, _PIPE_WIDTH)
    console.print(table)


def print_json(content: Any) -> None:
    """Print the result for scripts: JSON and nothing else."""
    echo(json.dumps(content, ensure_ascii=False, indent=2))
