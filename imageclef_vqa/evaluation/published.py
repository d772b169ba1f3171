"""Published figures: a file with the accuracy of each question, such as a column of a paper's table.

As CSV, `id,accuracy` (or `question,accuracy`, with the question's text); as JSON, a list of such objects, or an object
that has one under `questions`, as `medvqa score --json` prints it. `exact_set` may stand for `accuracy`.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from imageclef_vqa.editions import QUESTIONS, find_question
from imageclef_vqa.errors import DataError, MedvqaError
from imageclef_vqa.evaluation.estimates import rounded

_LARGEST = 1 << 20  # bytes
_NAMES = ("accuracy", "exact_set")


class PublishedQuestion(BaseModel):
    """One question's accuracy. No answers are known, so no interval either."""

    model_config = ConfigDict(frozen=True)

    id: int
    question: str
    exact_set: float
    interval: None = None


class PublishedGlobal(BaseModel):
    """The plain mean of the questions that the file holds."""

    model_config = ConfigDict(frozen=True)

    exact_set: float
    interval: None = None


class Published(BaseModel):
    """The figures of a per-question file, in the shape of a score."""

    model_config = ConfigDict(frozen=True)

    overall: PublishedGlobal = Field(serialization_alias="global")
    questions: tuple[PublishedQuestion, ...]


def read_published(path: Path) -> Published | None:
    """The figures in `path`; None if it is no per-question file, but perhaps a run.

    Raises:
        DataError: everything that is wrong in a file that has such columns.
    """
    rows = _rows(path) if path.suffix.lower() in (".csv", ".json") else None
    if rows is None:
        return None
    problems: list[str] = []
    found: dict[int, float] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{path}, entry {number}"
        question_id, accuracy = _question(row), _accuracy(row)
        if question_id is None:
            named = str(row.get("id", row.get("question", "")))
            problems.append(f"{where}: {named[:80]!r} is no question: ids are 0 to {len(QUESTIONS) - 1}")
        elif question_id in found:
            problems.append(f"{where}: question {question_id} stands there twice")
        elif accuracy is None:
            given = next((row[name] for name in _NAMES if name in row), "")
            problems.append(f"{where}: question {question_id}: accuracy is {given!r:.40}, not 0 to 1")
        else:
            found[question_id] = accuracy
    if problems or not found:
        raise DataError(problems[:20] or [f"{path}: no question in it"], remedy="a line per question: id,accuracy")
    return Published(
        overall=PublishedGlobal(exact_set=rounded(sum(found.values()) / len(found))),
        questions=tuple(
            PublishedQuestion(
                id=question_id, question=QUESTIONS[question_id].text, exact_set=rounded(found[question_id])
            )
            for question_id in sorted(found)
        ),
    )


def _rows(path: Path) -> list[dict[str, Any]] | None:
    """Entries with a question and an accuracy, under lower-case names; None if the file is of another kind."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise MedvqaError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError:
        return None
    if len(content) > _LARGEST:
        return None
    rows: Any = None
    if path.suffix.lower() == ".csv":
        try:
            rows = list(csv.DictReader(io.StringIO(text, newline="")))
        except csv.Error:
            return None
    elif path.suffix.lower() == ".json":
        try:
            rows = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if isinstance(rows, dict):
            rows = rows.get("questions")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return None
    rows = [{str(name).strip().lower(): value for name, value in row.items()} for row in rows]
    named = rows[0].keys()
    return rows if named & {"id", "question"} and named & set(_NAMES) else None


def _question(row: dict[str, Any]) -> int | None:
    value = row.get("id")
    if value in (None, ""):
        question = find_question(text) if isinstance(text := row.get("question"), str) else None
        return None if question is None else question.id
    text = str(value).strip()
    known = text.isascii() and text.isdigit() and len(text) < 4 and int(text) < len(QUESTIONS)
    return int(text) if known and not isinstance(value, bool) else None


def _accuracy(row: dict[str, Any]) -> float | None:
    value = next((row[name] for name in _NAMES if name in row), None)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        accuracy = float(value)
    except ValueError:
        return None
    return accuracy if 0 <= accuracy <= 1 else None
