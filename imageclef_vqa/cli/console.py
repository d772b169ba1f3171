"""What commands print: lines, tables, notes for people, and JSON for scripts.

Text may come from files of other people: what could control a terminal is escaped here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from shutil import get_terminal_size
from textwrap import fill
from typing import TYPE_CHECKING, Any

import typer

from imageclef_vqa.errors import as_called, printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment
    from rich.table import Table
    from rich.tree import Tree

_PIPE_WIDTH, _WIDEST = 120, 1000


def echo(
    message: object = "",
    *,
    err: bool = False,
    nl: bool = True,
    start: int = 0,
    hanging: int = 2,
    verbatim: bool = False,
    **style: Any,
) -> None:
    """Print lines, with the commands in them under the name that the user typed; `style` as for `typer.style`.

    A terminal's lines are wrapped unless `verbatim`: the first one starts in column `start`, and what goes on in
    column `hanging`.
    """
    # Not by `typer.echo`: it writes UTF-8 to a stream that is ASCII, and around a stream that handles a closed pipe.
    stream = sys.stderr if err else sys.stdout
    text = printable(as_called(str(message)), lines=True)
    if stream.isatty():
        if not verbatim:
            text = "\n".join(_wrapped(line, start, hanging) for line in text.split("\n"))
        if style:
            text = typer.style(text, **style)
    stream.write(text + "\n" * nl)
    stream.flush()


def _wrapped(line: str, start: int, hanging: int) -> str:
    """A line wrapped to the terminal's width; it stands where `start` columns are taken, and goes on in `hanging`."""
    width = max(20, get_terminal_size().columns)
    if start + len(line) <= width:
        return line
    filled = fill(
        line,
        width,
        initial_indent=" " * start,
        subsequent_indent=" " * (hanging if hanging <= width // 2 else 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled[start:]


def note(message: str) -> None:
    """Print a note to a person at a terminal's standard error; elsewhere, only warnings."""
    if message.startswith("warning: "):
        echo(message, fg="yellow", err=True)
    elif sys.stderr.isatty():
        echo(message, dim=True, err=True)


def print_table(table: Table | Tree) -> None:
    """Print a table as wide as the terminal; in a pipe, which has no width, at least 120 columns wide.

    Where the terminal is too narrow for a cell, the table is printed row by row.
    """
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, _PIPE_WIDTH)
    if isinstance(table, Table) and _letters(table, console.width) < _letters(table, _WIDEST):
        echo("\n".join(_row_by_row(table, console.width)), verbatim=True)
    else:
        console.print(_Printable(table))


def _text(content: Any, width: int) -> str:
    """What Rich prints in a terminal of this width."""
    from rich.console import Console

    console = Console(width=width, file=StringIO(), highlight=False, emoji=False, markup=False)
    console.print(content)
    return console.file.getvalue()  # type: ignore[attr-defined]


def _letters(table: Table, width: int) -> int:
    """How many letters and digits of a table are shown at this width; what is cut shows fewer."""
    return sum(map(str.isalnum, _text(table, width)))


def _row_by_row(table: Table, width: int) -> Iterator[str]:
    """The title, then each row and the footer as a paragraph: the cells that hold something, after their headings."""
    columns = [[_text(cell, _WIDEST).strip() for cell in (*each.cells, each.footer)] for each in table.columns]
    headings = [_text(each.header, _WIDEST).strip() for each in table.columns]
    if table.title:
        yield fill(_text(table.title, _WIDEST).strip(), width)
    for row in zip(*columns, strict=True):
        if any(row):
            cells = [f"{heading} {cell}".strip() for heading, cell in zip(headings, row, strict=True) if cell]
            yield fill(
                ("; " if table.show_header else " ").join(cells), width, subsequent_indent="  ", break_on_hyphens=False
            )
    if table.caption:
        yield fill(_text(table.caption, _WIDEST).strip(), width)


def print_json(content: Any) -> None:
    """Print the result for scripts: JSON and nothing else."""
    echo(json.dumps(content, ensure_ascii=not sys.stdout.encoding.lower().startswith("utf"), indent=2), verbatim=True)


@dataclass(frozen=True)
class _Printable:
    """A renderable whose text is escaped after it was styled."""

    content: Table | Tree

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for text, style, control in console.render(self.content, options):
            yield Segment(text if control else printable(text, lines=True), style, control)


@contextmanager
def escaped_usage_errors() -> Iterator[None]:
    """Within the block, what Click says of the command line, which may have names of files in it, is escaped."""
    try:
        yield
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str):
            error.message = printable(message, lines=True)  # type: ignore[attr-defined]
        raise
