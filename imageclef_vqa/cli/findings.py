"""How `check` and `package` show what they found, and what the validation score lets one expect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from imageclef_vqa.cli.console import echo

if TYPE_CHECKING:
    from rich.table import Table

    from imageclef_vqa.submission import Finding

_KEYS = ("id", "question", "exact_set", "interval", "majority")


def print_findings(findings: Sequence[Finding]) -> None:
    """Each with what and how often, where for example, and on a line of its own what to do."""
    for finding in findings:
        echo(f"{finding.severity}: ", fg="red" if finding.severity == "error" else "yellow", nl=False)
        echo(finding.what, start=len(finding.severity) + 2)
        echo(f"  → {finding.remedy}", hanging=4)


def expected(scores: Any) -> list[dict[str, Any]]:
    """Per question what the validation images let one expect, from the content of scores.json; empty if unscored."""
    try:
        return [{key: each.get(key) for key in _KEYS} for each in scores["folds"]["val"]["questions"]]
    except (KeyError, TypeError, AttributeError):
        return []


def expected_table(questions: Sequence[dict[str, Any]]) -> Table:
    """The same as a table."""
    from imageclef_vqa.evaluation.tables import QuestionCell, add_numbers, question_table

    table = question_table("What validation lets you expect, with 95% intervals", footer=False)
    for heading in ("exact set", "95% interval", "majority"):
        add_numbers(table, heading)
    for each in questions:
        interval = "" if each["interval"] is None else "–".join(f"{end:.3f}" for end in each["interval"])
        table.add_row(QuestionCell(each["id"]), _share(each["exact_set"]), interval, _share(each["majority"]))
    return table


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
