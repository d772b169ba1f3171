"""Findings: what a check reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

EXAMPLES = 3

Severity = Literal["error", "warning"]


class Finding(BaseModel):
    """One kind of problem: how often it occurs, its first few locations, and the next step.

    An error means that the run would be rejected, or scored differently from what is meant; a warning may be intended.
    """

    model_config = ConfigDict(frozen=True)

    severity: Severity
    check: str
    count: int
    message: str
    examples: tuple[str, ...] = ()
    remedy: str

    @property
    def what(self) -> str:
        """The message with its examples."""
        more = "; …" * (self.count > len(self.examples))
        return self.message + f" ({'; '.join(self.examples)}{more})" * bool(self.examples)

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


def finding(
    severity: Severity, check: str, locations: Sequence[str], message: str, remedy: str, *, count: int | None = None
) -> Finding:
    """A finding at `locations`; `count` is given where these are only some of them."""
    return Finding(
        severity=severity,
        check=check,
        count=len(locations) if count is None else count,
        message=message,
        examples=tuple(printable(each)[:200] for each in locations[:EXAMPLES]),
        remedy=remedy,
    )


def error(check: str, locations: Sequence[str], message: str, remedy: str) -> Finding:
    """A finding that keeps a run from being written."""
    return finding("error", check, locations, message, remedy)


def warning(check: str, locations: Sequence[str], message: str, remedy: str) -> Finding:
    """A finding that the competitor decides about."""
    return finding("warning", check, locations, message, remedy)


def errors_in(findings: Sequence[Finding]) -> int:
    """How many of `findings` are errors."""
    return sum(each.severity == "error" for each in findings)


def printable(text: str) -> str:
    """`text` with control characters escaped, so that a file cannot control the terminal."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def shown(answers: Sequence[str]) -> str:
    """A set of answers in a message, shortened."""
    return repr("; ".join(answers)[:60])


def location(image_id: str, question_id: int, answers: Sequence[str]) -> str:
    """Where an answer stands, and the answer."""
    return f"{image_id[:80]}, question {question_id}: {shown(answers)}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 answer is`, `2 answers are`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
