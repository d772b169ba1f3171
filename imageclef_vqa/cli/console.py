"""What commands say besides their result: notes for people, and JSON for scripts."""

from __future__ import annotations

import json
import sys
from shutil import get_terminal_size
from textwrap import fill
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

_PIPE_WIDTH = 120


def note(message: str) -> None:
    """Something that a person who watches wants to know; nothing where standard error is no terminal."""
    if sys.stderr.isatty():
        typer.secho(message, dim=True, err=True)


def wrapped(text: str, indent: int = 0) -> str:
    """`text` as wide as the terminal, from column `indent` on; in a pipe, which has no width, on one line."""
    if not sys.stdout.isatty():
        return text
    width = max(40, get_terminal_size().columns)
    filled = fill(text, width, initial_indent=" " * indent, subsequent_indent="  ", break_on_hyphens=False)
    return filled[indent:]


def print_table(table: Table) -> None:
    """A table, as wide as the terminal; in a pipe, which has no width of its own, as wide as it needs to be."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, _PIPE_WIDTH)
    console.print(table)


def print_json(content: Any) -> None:
    """The result for scripts: JSON alone."""
    typer.echo(json.dumps(content, ensure_ascii=False, indent=2))
