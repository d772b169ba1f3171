"""Published accuracies: a file with the accuracy of each question, such as a column of a paper's table.

CSV: `id,accuracy`, or `question,accuracy` with the question's text. JSON: a list of objects with these keys, or an
object with such a list under `questions`, as `medvqa score --json` prints. `exact_set` is a synonym of `accuracy`.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from imageclef_vqa.editions import QUESTIONS, find_question
from imageclef_vqa.errors import DamagedFileError, DataError
from imageclef_vqa.evaluation.estimates import rounded
from imageclef_vqa.inputs import parse_json, read_text

_TABLES = Path(__file__).parent / "paper_tables"
_LARGEST = 1 << 20  # bytes
_NAMES = ("accuracy", "exact_set")


class PublishedQuestion(BaseModel):
    """The accuracy of one question. There is no interval, because the answers are not known."""

    model_config = ConfigDict(frozen=True)

    id: int
    question: str
    exact_set: float
    interval: None = None


class PublishedGlobal(BaseModel):
    """The plain mean of the questions in the file."""

    model_config = ConfigDict(frozen=True)

    exact_set: float
    interval: None = None


class Published(BaseModel):
    """Published accuracies in the shape of a score."""

    model_config = ConfigDict(frozen=True)

    overall: PublishedGlobal = Field(serialization_alias="global")
    questions: tuple[PublishedQuestion, ...]


def published_file(name: str) -> Path:
    """The file at the path `name`; where there is none, the paper's `table3` (validation) or `table5` (test)."""
    ours = _TABLES / f"{name}.csv"
    return ours if ours.parent == _TABLES and ours.is_file() and not Path(name).exists() else Path(name)


def read_published(path: Path) -> Published | None:
    """The accuracies in `path`; None if it has another format, such as that of a run.

    Raises:
        DataError: the file has the columns but invalid entries; all of them are listed.
        MedvqaError: the file cannot be read.
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
            problems.append(f"{where}: {named[:80]!r} is not a question: ids are 0 to {len(QUESTIONS) - 1}")
        elif question_id in found:
            problems.append(f"{where}: question {question_id} appears twice")
        elif accuracy is None:
            given = next((row[name] for name in _NAMES if name in row), "")
            problems.append(
                f"{where}: question {question_id}: accuracy is {given!r:.40}; it must be a number from 0 to 1"
            )
        else:
            found[question_id] = accuracy
    if problems or not found:
        raise DataError(problems[:20] or [f"{path}: no questions"], remedy="write one line per question: id,accuracy")
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
    """The entries, with lower-case keys; None if the file has another format."""
    if path.is_file() and path.stat().st_size > _LARGEST:  # a run
        return None
    try:
        text = read_text(path, _LARGEST)
    except DamagedFileError:
        return None
    try:
        is_csv = path.suffix.lower() == ".csv"
        rows: Any = list(csv.DictReader(io.StringIO(text, newline=""))) if is_csv else parse_json(text)
    except (csv.Error, ValueError):
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
