"""How `check` and `package` show what they found, and what the validation score lets one expect."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from shutil import get_terminal_size
from textwrap import fill
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from imageclef_vqa.submission import Finding

_KEYS = ("id", "question", "exact_set", "interval", "majority")


def print_findings(findings: Sequence[Finding]) -> None:
    """Each with what and how often, where for example, and on a line of its own what to do."""
    for finding in findings:
        typer.secho(f"{finding.severity}: ", fg="red" if finding.severity == "error" else "yellow", nl=False)
        typer.echo(_wrapped(finding.what, indent=len(finding.severity) + 2))
        typer.echo(f"  → {_wrapped(finding.remedy, indent=4)}")


def _wrapped(text: str, indent: int) -> str:
    """`text` as wide as the terminal, from column `indent` on; in a pipe, which has no width, on one line."""
    if not sys.stdout.isatty():
        return text
    width = max(40, get_terminal_size().columns)
    filled = fill(text, width, initial_indent=" " * indent, subsequent_indent="  ", break_on_hyphens=False)
    return filled[indent:]


def expected(scores: Any) -> list[dict[str, Any]]:
    """Per question what the validation images let one expect, from the content of scores.json; empty if unscored."""
    try:
        return [{key: each.get(key) for key in _KEYS} for each in scores["folds"]["val"]["questions"]]
    except (KeyError, TypeError, AttributeError):
        return []


def expected_table(questions: Sequence[dict[str, Any]]) -> Table:
    """The same as a table."""
    from rich.table import Table

    table = Table(title="What validation lets you expect", title_justify="left")
    table.add_column("")
    table.add_column("question", no_wrap=True, overflow="ellipsis")
    for column in ("exact set", "95% interval", "majority answer"):
        table.add_column(column, justify="right")
    for each in questions:
        interval = "" if each["interval"] is None else "–".join(f"{end:.2f}" for end in each["interval"])
        cells = [_share(each["exact_set"]), interval, _share(each["majority"])]
        table.add_row(str(each["id"]), str(each["question"]), *cells)
    return table


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
