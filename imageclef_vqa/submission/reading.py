"""What comes of reading a file: answers, what makes it no run, and what is merely not as a run is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from imageclef_vqa.errors import DataError, shortened
from imageclef_vqa.submission.findings import Finding, Severity, finding, number, printable
from imageclef_vqa.submission.records import Answers
from imageclef_vqa.submission.run import Pair

_HOPELESS = 1000  # problems after which no more are looked for

Form = Literal["list", "string"]


class Fault(NamedTuple):
    """One thing that makes a file no run: which kind of thing (a key of `_KINDS`), and a line with its place."""

    check: str
    line: str


@dataclass
class Reading:
    """A file that was read.

    `answers` in the file's order; `faulty` pairs are named there but have no usable answer. `oddities` do not hinder
    reading. `content` is the JSON in the file as the organisers' checker would load it, None if there is none.
    """

    name: str
    answers: dict[Pair, Answers] = field(default_factory=dict)
    faulty: set[Pair] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    oddities: list[Finding] = field(default_factory=list)
    form: Form = "list"
    strings: list[str] = field(default_factory=list)  # places of answers that are bare strings
    lists: int = 0
    content: Any = None

    def fault(self, check: str, line: str) -> None:
        self.faults.append(Fault(check, line))

    def hopeless(self, where: str) -> bool:
        """Whether so much is wrong before `where` that the rest is not worth reading, which is then said.

        Nor are the answers found so far worth checking: they are not all.
        """
        if len(self.faults) <= _HOPELESS:
            return False
        remedy = "mend what is found so far and check again: there may be more"
        self.answers.clear()
        self.odd("warning", "unread", [where], f"over {_HOPELESS:,} faults: the rest was not looked at", remedy)
        return True

    def odd(self, severity: Severity, check: str, places: Sequence[str], message: str, remedy: str) -> None:
        self.oddities.append(finding(severity, check, self._places(places), message, remedy))

    def refuse(self) -> None:
        """Raise what makes it no run.

        Raises:
            DataError: everything that does, in the order of the file.
        """
        if not self.faults:
            return
        lines = shortened([printable(fault.line) for fault in self.faults])
        kinds = {fault.check for fault in self.faults}
        raise DataError(lines, remedy=_KINDS[kinds.pop()][1] if len(kinds) == 1 else None)

    def findings(self) -> list[Finding]:
        """What is wrong with the file itself, each kind once."""
        return [*self._faults_by_kind(), *self.oddities]

    def _faults_by_kind(self) -> Iterator[Finding]:
        kinds: dict[str, list[str]] = {}
        for fault in self.faults:
            kinds.setdefault(fault.check, []).append(fault.line)
        for check, lines in kinds.items():
            what, remedy = _KINDS[check]
            yield finding("error", check, self._places(lines), f"{number(len(lines), *what)}", remedy)

    def _places(self, lines: Sequence[str]) -> list[str]:
        return [line.removeprefix(self.name).removeprefix(":").lstrip(" ,") for line in lines]


_KINDS: dict[str, tuple[tuple[str, str], str]] = {
    "archive": (
        ("fault of the archive", "faults of the archive"),
        "a run's archive holds task1/ with one .json or .csv file, nothing else: `medvqa package --team NAME` makes it",
    ),
    "syntax": (
        ("place breaks the format", "places break the format"),
        "the file may be cut off or edited by hand: write it anew, with `medvqa package` or a JSON or CSV library",
    ),
    "text": (
        ("place is not UTF-8 text", "places are not UTF-8 text"),
        "save the file as UTF-8 without a byte order mark",
    ),
    "structure": (
        ("part has the wrong shape", "parts have the wrong shape"),
        "a run is {image id: [{QuestionID, Question, Answer}, …], …}, or a CSV of ImageID,QuestionID,Question,Answer",
    ),
    "columns": (
        ("header is not that of a run", "headers are not those of a run"),
        "the first row is ImageID,QuestionID,Question,Answer, separated by commas",
    ),
    "cells": (
        ("row has too many or too few columns", "rows have too many or too few columns"),
        "quote cells that hold a comma or a line break, and look whether the file is whole",
    ),
    "image-id": (("record has no image's id", "records have no image's id"), "an id is the file's name without .jpg"),
    "question-id": (
        ("record names no question", "records name no question"),
        "questions are numbered 0 to 17; later editions name them by their text",
    ),
    "question-text": (
        ("record spells another question than its number", "records spell another question than their number"),
        "keep number and text together, spelt as in the data",
    ),
    "answer-form": (
        ("answer has the wrong form", "answers have the wrong form"),
        'write an answer as a list of strings, numbers too, ["3"]; in later editions as one string',
    ),
    "duplicate": (
        ("answer or key stands there twice", "answers or keys stand there twice"),
        "answer each image and question once",
    ),
    "size": (("file is too large or too long", "files are too large or too long"), "1,938 images take 4 MiB as JSON"),
    "kind": (("file is no run by its name", "files are no runs by their names"), "runs are .csv, .json or .zip files"),
}
