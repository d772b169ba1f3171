"""What a check says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

EXAMPLES = 3

Severity = Literal["error", "warning"]


class Finding(BaseModel):
    """One thing that is wrong, or worth knowing, in `count` places, the first few of them as `examples`.

    An error would get the run rejected, or scored other than meant; a warning is what a competitor should know.
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


def finding(severity: Severity, check: str, places: Sequence[str], message: str, remedy: str) -> Finding:
    """A finding in `places`, the first of which are its examples."""
    examples = tuple(printable(place)[:200] for place in places[:EXAMPLES])
    return Finding(severity=severity, check=check, count=len(places), message=message, examples=examples, remedy=remedy)


def printable(text: str) -> str:
    """Text from outside without what a terminal would obey or could not show."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def errors_in(findings: Sequence[Finding]) -> int:
    """How many of `findings` are errors."""
    return sum(each.severity == "error" for each in findings)


def place(image_id: str, question_id: int, answer: str) -> str:
    """Where an answer stands, and what it says."""
    return f"{image_id[:80]}, question {question_id}: {answer[:60]!r}"


def number(count: int, one: str, many: str | None = None) -> str:
    """`1 answer is`, `2 answers are`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
