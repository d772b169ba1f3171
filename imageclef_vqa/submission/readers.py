"""Reading a run file, ours or another team's. It may be anything: nothing in it is believed before it was checked."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imageclef_vqa.errors import DataError, MedvqaError
from imageclef_vqa.submission.archives import LARGEST, only_member
from imageclef_vqa.submission.records import Answers
from imageclef_vqa.task import QUESTIONS, find_question, split_answers

COLUMNS = ("ImageID", "QuestionID", "Question", "Answer")
_COMPLAINTS_SHOWN = 20
_HOPELESS = 1000  # problems after which no more are looked for
_MOST_ANSWERS = 100

Row = tuple[str, Any, Any, Any, Any]  # where it stands, then ImageID, QuestionID, Question, Answer


def read_run(path: Path) -> dict[tuple[str, int], Answers]:
    """(image id, question id) → answers, in the order of the file: CSV, the organisers' JSON, or a zip with either.

    Raises:
        MedvqaError: the file cannot be read.
        DataError: everything that makes it no run, each with file and row.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise MedvqaError(f"cannot read {path}: {error.strerror or error}") from error
    return parse_run(content, str(path), path.suffix.lower())


def parse_run(content: bytes, name: str, suffix: str) -> dict[tuple[str, int], Answers]:
    """What `read_run` reads, from bytes.

    Raises:
        DataError: everything that makes them no run, each with `name` and row.
    """
    if len(content) > LARGEST:
        raise DataError([f"{name}: over {LARGEST >> 20} MiB, too large for a run"])
    if suffix == ".zip":
        name, suffix, content = only_member(content, name)
    if suffix not in (".csv", ".json"):
        raise DataError([f"{name}: runs are .csv, .json or .zip files"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError([f"{name}, line {line}: not UTF-8"], remedy="save the file as UTF-8") from error
    problems: list[str] = []
    rows = _csv_rows(text, name, problems) if suffix == ".csv" else _json_rows(text, name, problems)
    answers = _collect(rows, problems)
    if problems:
        more = len(problems) - _COMPLAINTS_SHOWN
        raise DataError(problems[:_COMPLAINTS_SHOWN] + ([f"… and {more} more"] if more > 0 else []))
    return answers


def _collect(rows: Iterator[Row], problems: list[str]) -> dict[tuple[str, int], Answers]:
    answers: dict[tuple[str, int], Answers] = {}
    places: dict[tuple[str, int], str] = {}
    for where, image_id, question_id, text, answer in rows:
        if not isinstance(image_id, str) or not image_id:
            problems.append(f"{where}: ImageID is {image_id!r:.80}, not an image's id")
        elif type(question_id) is not int or not 0 <= question_id < len(QUESTIONS):
            problems.append(f"{where}: QuestionID is {question_id!r:.80}, not 0 to {len(QUESTIONS) - 1}")
        elif not isinstance(text, str) or find_question(text) is not QUESTIONS[question_id]:
            problems.append(f"{where}: question {question_id} is {QUESTIONS[question_id].text!r}, not {text!r:.80}")
        elif not isinstance(answer, list) or not all(isinstance(each, str) for each in answer):
            problems.append(f"{where}: Answer is {answer!r:.80}; answers are lists of strings")
        elif (pair := (image_id, question_id)) in answers:
            problems.append(f"{where}: {image_id}, question {question_id} is already answered ({places[pair]})")
        else:
            answers[pair], places[pair] = tuple(answer), where
    return answers


def _csv_rows(text: str, name: str, problems: list[str]) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if sorted(header) != sorted(COLUMNS):
            problems.append(f"{name}, row 1: columns are {', '.join(header)[:120]}, not {', '.join(COLUMNS)}")
            return
        order = [header.index(column) for column in COLUMNS]
        for number, cells in enumerate(reader, start=2):
            where = f"{name}, row {number}"
            if len(problems) > _HOPELESS:
                return
            if not cells:  # an empty line, as editors leave one at the end
                continue
            if len(cells) != len(COLUMNS):
                problems.append(f"{where}: {len(cells)} columns, not {len(COLUMNS)}")
                continue
            image_id, question_id, question, answer = (cells[place] for place in order)
            yield where, image_id, _whole_number(question_id), question, _cell_answers(answer)
    except csv.Error as error:
        problems.append(f"{name}, line {reader.line_num}: {error}")


def _whole_number(cell: str) -> int | str:
    return int(cell) if cell.isascii() and cell.isdigit() and len(cell) < 4 else cell


def _cell_answers(cell: str) -> list[str] | str:
    try:
        return split_answers(cell)
    except (ValueError, RecursionError):
        return cell


def _json_rows(text: str, name: str, problems: list[str]) -> Iterator[Row]:
    repeated: list[str] = []

    def without_repeats(members: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated.extend(key for key, count in Counter(key for key, _ in members).items() if count > 1)
        return dict(members)

    try:
        images = json.loads(text, object_pairs_hook=without_repeats)
    except (ValueError, RecursionError) as error:
        problems.append(f"{name}: not JSON: {error}")
        return
    problems.extend(f"{name}: {key[:80]!r} stands twice in one object" for key in repeated)
    if not isinstance(images, dict):
        problems.append(f"{name}: not an object of images, as the organisers' format is")
        return
    for image_id, entries in images.items():
        if len(problems) > _HOPELESS:
            return
        if not isinstance(entries, list):
            problems.append(f"{name}, {image_id[:80]}: not a list of answers")
            continue
        if len(entries) > _MOST_ANSWERS:
            problems.append(f"{name}, {image_id[:80]}: {len(entries):,} answers, an image has {len(QUESTIONS)}")
            continue
        for number, entry in enumerate(entries, start=1):
            where = f"{name}, {image_id[:80]}, answer {number}"
            if not isinstance(entry, dict) or set(entry) != set(COLUMNS[1:]):
                problems.append(f"{where}: not an object of {', '.join(COLUMNS[1:])}")
                continue
            # Whether an answer is a list or a string was never enforced: a string is one answer.
            answer = entry["Answer"]
            yield (
                where,
                image_id,
                entry["QuestionID"],
                entry["Question"],
                [answer] if isinstance(answer, str) else answer,
            )
