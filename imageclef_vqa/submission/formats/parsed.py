"""A run file as it was read: the answers in it, and everything that is wrong with the file itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from imageclef_vqa.editions import QUESTIONS, Edition, Question, split_answers
from imageclef_vqa.errors import DataError, counted, printable, shortened
from imageclef_vqa.submission.run import Answers, Finding, Pair, Severity, error, finding

LARGEST = 16 * 2**20  # bytes; 1,938 images take 4 MiB
_MOST_ANSWERS = 120_000  # 6,500 images of Kvasir-VQA have 117,000
_MOST_FAULTS = 1000

Form = Literal["list", "string"]  # how JSON holds an answer: ["Pink", "Red"] or "Pink; Red"


class Row(NamedTuple):
    """One answer as a file holds it, not yet checked. A tuple as `answer` is known to hold strings."""

    location: str
    image_id: Any
    question_id: Any
    question: Any
    answer: Any


class Fault(NamedTuple):
    """Something that makes a file unusable as a run; `check` is a key of `FAULTS`."""

    check: str
    line: str  # location and message


@dataclass
class ParsedRun:
    """What was read from a file.

    Attributes:
        name: the file's, and after it that of the archive's member.
        answers: in the file's order and spelling.
        faulty: pairs whose answer has an unusable form.
        faults: what `refuse` raises.
        notes: findings in a file that can be read all the same.
        form: "string" if every answer is one string.
        strings: locations of the answers that are bare strings.
        lists: number of answers that are lists.
        content: the JSON of the file as the organisers' checker would load it; None if it is not JSON.
    """

    name: str
    answers: dict[Pair, Answers] = field(default_factory=dict)
    faulty: set[Pair] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    form: Form = "list"
    strings: list[str] = field(default_factory=list)
    lists: int = 0
    content: Any = None

    def fault(self, check: str, line: str) -> None:
        self.faults.append(Fault(check, line))

    def note(self, severity: Severity, check: str, locations: Sequence[str], message: str, remedy: str) -> None:
        self.notes.append(finding(severity, check, self._relative(locations), message, remedy))

    def gives_up(self, location: str) -> bool:
        """Whether there are too many faults to read on from `location`.

        If so, the answers are dropped: checks of a part would report the rest as missing.
        """
        if len(self.faults) <= _MOST_FAULTS:
            return False
        self.answers.clear()
        message = f"over {_MOST_FAULTS:,} faults: the rest was not read"
        self.note("warning", "unread", [location], message, "correct these and check again: there may be more")
        return True

    def refuse(self) -> None:
        """Raise the faults, if there are any.

        Raises:
            DataError: the first faults, in the order of the file.
        """
        if not self.faults:
            return
        lines = [printable(fault.line) for fault in self.faults]
        checks = {fault.check for fault in self.faults}
        raise DataError(shortened(lines), remedy=FAULTS[checks.pop()][1] if len(checks) == 1 else None)

    def findings(self) -> list[Finding]:
        """The faults, one finding for each check, and the notes."""
        lines: dict[str, list[str]] = {}
        for check, line in self.faults:
            lines.setdefault(check, []).append(line)
        found = []
        for check, those in lines.items():
            what, remedy = FAULTS[check]
            times = f", {len(those):,} times" * (len(those) > 1)
            found.append(error(check, self._relative(those), what + times, remedy))
        return found + self.notes

    def as_lists(self) -> dict[Pair, Answers]:
        """The answers; if each is one string, `Pink; Red`, split into its members."""
        if self.form == "list":
            return self.answers
        cells = {pair: cell_answers(answers[0]) for pair, answers in self.answers.items()}
        return {pair: (cell,) if isinstance(cell, str) else cell for pair, cell in cells.items()}

    def collect(self, rows: Iterable[Row], edition: Edition) -> None:
        """Take the answers out of `rows`."""
        seen: dict[Pair, str] = {}
        respelt: list[str] = []
        for row in rows:
            if len(seen) == _MOST_ANSWERS:
                self.fault("size", f"{row.location}: over {_MOST_ANSWERS:,} answers, too many for a run")
                self.answers.clear()
                break
            if (pair := self._pair(row, seen)) is None:
                continue
            if row.question != edition.question(QUESTIONS[pair[1]]) and not self._is_alias(row, edition, respelt):
                self.faulty.add(pair)
                continue
            answer = row.answer
            if isinstance(answer, list) and all(isinstance(each, str) for each in answer):
                answer = tuple(answer)
            if isinstance(answer, tuple):
                self.answers[pair] = answer
            else:
                self.fault("answer-form", f"{row.location}: Answer is {answer!r:.80}; answers are lists of strings")
                self.faulty.add(pair)
        if respelt:
            message = f"{counted(len(respelt), 'question is', 'questions are')} spelt differently from the data"
            self.note("error", "question-text", respelt, message, "write each question as the data spell it")
        if not self.answers and not self.faults:
            message = "the file holds no answer"
            self.note("error", "empty", ["no answer at all"], message, "`medvqa package` writes a run")
        self._note_form()

    def _pair(self, row: Row, seen: dict[Pair, str]) -> Pair | None:
        where, image_id, question_id = row.location, row.image_id, row.question_id
        if not isinstance(image_id, str) or not image_id:
            self.fault("image-id", f"{where}: ImageID is {image_id!r:.80}, not an image's id")
            return None
        if type(question_id) is not int or not 0 <= question_id < len(QUESTIONS):  # True is an int
            self.fault("question-id", f"{where}: QuestionID is {question_id!r:.80}, not 0 to {len(QUESTIONS) - 1}")
            return None
        pair = image_id, question_id
        if pair in seen:
            first = self._relative([seen[pair]])[0]
            self.fault("duplicate", f"{where}: {image_id}, question {question_id} is already answered ({first})")
            return None
        seen[pair] = where
        return pair

    def _is_alias(self, row: Row, edition: Edition, respelt: list[str]) -> bool:
        """Whether the row's text is another spelling of its question, which is then added to `respelt`."""
        question: Question = QUESTIONS[row.question_id]
        asked = edition.find(row.question) if isinstance(row.question, str) else None
        if asked == question:
            wanted = edition.question(question)
            respelt.append(f"{row.location}: {row.question!r:.80}, question {question.id} is {wanted!r}")
            return True
        other = f", which is question {asked.id}" if asked else ""
        line = f"{row.location}: question {question.id} is {question.text!r}, not {row.question!r:.80}{other}"
        self.fault("question-text", line)
        return False

    def _note_form(self) -> None:
        strings = len(self.strings)
        if strings and self.lists:
            message = f"{counted(strings, 'answer is a string', 'answers are strings')}, the others are lists"
            self.note("error", "answer-form", self.strings, message, 'write every answer as a list: ["Yes"]')
        elif strings:
            self.form = "string"
            message = f"all {strings:,} answers are strings, not lists"
            remedy = "the organisers do not say which they want; lists cannot be misread (`--answer-form list`)"
            self.note("warning", "answer-form", self.strings, message, remedy)
            pairs = self.answers.items()
            if packed := [f"{image_id}, question {q}: {text}" for (image_id, q), (text,) in pairs if text[:1] == "["]:
                message = f"{counted(len(packed), 'answer is a list', 'answers are lists')} within a string"
                self.note("error", "answer-form", packed, message, 'write the list itself: ["Yes"]')

    def _relative(self, lines: Sequence[str]) -> list[str]:
        return [line.removeprefix(self.name).removeprefix(":").lstrip(" ,") for line in lines]


def cell_answers(cell: str) -> Answers | str:
    """The answers in one cell of text; the cell itself if it starts like a JSON list of strings but is none."""
    try:
        return tuple(split_answers(cell))
    except (ValueError, RecursionError):
        return cell


# check → what is wrong, the remedy
FAULTS: dict[str, tuple[str, str]] = {
    "archive": (
        "the archive is unsafe, damaged or ambiguous",
        "a run's archive holds one .json or .csv file in task1/, nothing else: `medvqa package --team NAME` writes it",
    ),
    "syntax": (
        "wrong syntax",
        "the file may be cut off or edited by hand: write it with `medvqa package` or a JSON or CSV library",
    ),
    "text": ("not UTF-8 text", "save the file as UTF-8 without a byte order mark"),
    "structure": (
        "wrong structure",
        "a run is {image id: [{QuestionID, Question, Answer}, …], …}, or a CSV of ImageID,QuestionID,Question,Answer",
    ),
    "columns": ("wrong header", "the first row is ImageID,QuestionID,Question,Answer, separated by commas"),
    "cells": ("wrong number of columns", "quote cells that hold a comma or a line break; the file may be cut off"),
    "image-id": ("an image id is missing", "an id is the image's file name without .jpg"),
    "question-id": (
        "a number or text of no question",
        f"questions are numbered 0 to {len(QUESTIONS) - 1}; later editions name them by their text",
    ),
    "question-text": (
        "the text of another question",
        "write each number with the text of its question, as in the data",
    ),
    "answer-form": (
        "an answer in the wrong form",
        'write an answer as a list of strings, numbers too: ["3"]; in later editions as one string',
    ),
    "duplicate": ("a repeated answer or key", "answer each image and question once"),
    "size": ("too large", "a run of 1,938 images takes 4 MiB as JSON"),
    "kind": ("not a run's file type", "a run is a .csv, .json or .zip file"),
}
