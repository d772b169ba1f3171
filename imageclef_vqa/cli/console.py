"""What commands say besides their result: notes for people, and JSON for scripts."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

_PIPE_WIDTH = 120


def note(message: str) -> None:
    """Something that a person who watches wants to know; nothing where standard error is no terminal."""
    if sys.stderr.isatty():
        typer.secho(message, dim=True, err=True)


def print_table(table: Table) -> None:
    """A table, as wide as the terminal; in a pipe, which has no width of its own, as wide as it needs to be."""
    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, _PIPE_WIDTH)
    console.print(table)


def print_json(content: Any) -> None:
    """The result for scripts: JSON alone."""
    typer.echo(json.dumps(content, ensure_ascii=False, indent=2))
