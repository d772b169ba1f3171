"""Reading a run file, ours or another team's. It may be anything: nothing in it is believed before it was checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from imageclef_vqa.editions import GI_2023, QUESTIONS, Edition
from imageclef_vqa.errors import DataError, MedvqaError
from imageclef_vqa.submission.archives import LARGEST, only_member
from imageclef_vqa.submission.csv_rows import csv_rows
from imageclef_vqa.submission.findings import number
from imageclef_vqa.submission.json_rows import json_rows
from imageclef_vqa.submission.reading import Reading
from imageclef_vqa.submission.records import COLUMNS, Answers, Row, cell_answers

_OTHER_FILES = {
    b"\xff\xfe\0\0": ", but UTF-32",
    b"\xff\xfe": ", but UTF-16, as spreadsheets write it",
    b"\xfe\xff": ", but UTF-16, as spreadsheets write it",
    b"PK": ", but a zip archive or a spreadsheet's own file",
    b"\x1f\x8b": ", but compressed by gzip",
}
_BOM = b"\xef\xbb\xbf"
_MOST_ANSWERS = 120_000  # 6,500 images of Kvasir-VQA have 117,000


def read_run(path: Path) -> dict[tuple[str, int], Answers]:
    """(image id, question id) → answers, in the order of the file: CSV, the organisers' JSON, or a zip with either.

    Raises:
        MedvqaError: the file cannot be read.
        DataError: everything that makes it no run, each with file and row.
    """
    return parse_run(read_bytes(path), str(path), path.suffix.lower())


def parse_run(content: bytes, name: str, suffix: str) -> dict[tuple[str, int], Answers]:
    """What `read_run` reads, from bytes.

    Raises:
        DataError: everything that makes them no run, each with `name` and row.
    """
    reading = examine(content, name, suffix)
    reading.refuse()
    return reading.answers


def read_bytes(path: Path) -> bytes:
    """The content of a run file, up to one byte more than a run can have.

    Raises:
        MedvqaError: it cannot be read.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, for ever
            raise MedvqaError(f"cannot read {path}: it is no file", remedy="name the run itself: .csv, .json or .zip")
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MedvqaError(f"cannot read {path}: {reason}", remedy="name a run: .csv, .json or .zip") from error


def examine(content: bytes, name: str, suffix: str, edition: Edition = GI_2023) -> Reading:
    """Read as much of a run as can be read, with all that is wrong about the file; answers in the file's spelling."""
    reading = Reading(name)
    if len(content) > LARGEST:
        reading.fault("size", f"{name}: over {LARGEST >> 20} MiB, too large for a run")
        return reading
    if suffix == ".zip":
        try:
            member, suffix, content = only_member(content, name)
        except DataError as error:
            for problem in error.problems:
                reading.fault("archive", problem)
            return reading
        if member.removeprefix(f"{name}, ").rpartition("/")[0] != "task1":
            message = "the run does not lie in the archive's folder task1/"
            reading.odd("error", "archive-folder", [member], message, "`medvqa package --team NAME` makes the archive")
        reading.name = name = member
    if suffix not in (".csv", ".json"):
        reading.fault("kind", f"{name}: runs are .csv, .json or .zip files")
        return reading
    text = _decode(content, reading)
    if text is None:
        return reading
    if not text.strip("\0 \t\r\n"):
        kind = "columns" if suffix == ".csv" else "syntax"
        what = f"row 1: columns are , not {', '.join(COLUMNS)}: the file is empty" if suffix == ".csv" else "not JSON"
        reading.fault(kind, f"{name}, {what}" if suffix == ".csv" else f"{name}: {what}: the file is empty")
        return reading
    rows = csv_rows(text, reading) if suffix == ".csv" else json_rows(text, reading, edition)
    _collect(rows, reading, edition)
    return reading


def _decode(content: bytes, reading: Reading) -> str | None:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        known = (said for start, said in _OTHER_FILES.items() if content.startswith(start))
        reading.fault("text", f"{reading.name}, line {line}: not UTF-8{next(known, '')}")
        return None
    if content.startswith(_BOM):
        message = "the file begins with a byte order mark: JSON readers refuse it, CSV readers take it for text"
        reading.odd("error", "byte-order-mark", ["byte 1"], message, "save it as UTF-8 without one")
    return text


def _collect(rows: Iterator[Row], reading: Reading, edition: Edition) -> None:
    answers, faulty = reading.answers, reading.faulty
    places: dict[tuple[str, int], str] = {}
    respelt: list[str] = []
    spelt = [edition.question(question) for question in QUESTIONS]
    for where, image_id, question_id, text, answer in rows:
        if len(places) == _MOST_ANSWERS:
            reading.fault("size", f"{where}: over {_MOST_ANSWERS:,} answers, too many for a run")
            answers.clear()
            break
        if not isinstance(image_id, str) or not image_id:
            reading.fault("image-id", f"{where}: ImageID is {image_id!r:.80}, not an image's id")
            continue
        if type(question_id) is not int or not 0 <= question_id < len(QUESTIONS):
            reading.fault("question-id", f"{where}: QuestionID is {question_id!r:.80}, not 0 to {len(QUESTIONS) - 1}")
            continue
        pair, question = (image_id, question_id), QUESTIONS[question_id]
        if pair in places:
            first = places[pair].removeprefix(reading.name).lstrip(" ,")
            reading.fault("duplicate", f"{where}: {image_id}, question {question_id} is already answered ({first})")
            continue
        places[pair] = where
        if text != spelt[question_id]:
            asked = edition.find(text) if isinstance(text, str) else None
            if asked is not question:
                other = f", which is question {asked.id}" if asked else ""
                reading.fault(
                    "question-text", f"{where}: question {question_id} is {question.text!r}, not {text!r:.80}{other}"
                )
                faulty.add(pair)
                continue
            respelt.append(f"{where}: {text!r:.80}, question {question_id} is {spelt[question_id]!r}")
        if isinstance(answer, list) and all(isinstance(each, str) for each in answer):
            answer = tuple(answer)
        if not isinstance(answer, tuple):
            reading.fault("answer-form", f"{where}: Answer is {answer!r:.80}; answers are lists of strings")
            faulty.add(pair)
            continue
        answers[pair] = answer
    if respelt:
        message = f"{number(len(respelt), 'question is', 'questions are')} spelt otherwise than in the data"
        reading.odd("error", "question-text", respelt, message, "write its text as the data have it")
    if not reading.answers and not reading.faults:
        reading.odd("error", "empty", ["no answer at all"], "the file holds no answer", "`medvqa package` writes a run")
    _note_form(reading)


def _note_form(reading: Reading) -> None:
    if not reading.strings:
        return
    strings = len(reading.strings)
    if not reading.lists:
        reading.form = "string"
        message = f"all {strings:,} answers are strings, not lists"
        remedy = "the organisers never said which they want; lists cannot be misread (`--answer-form list`)"
        reading.odd("warning", "answer-form", reading.strings, message, remedy)
    else:
        message = f"{number(strings, 'answer is a string', 'answers are strings')}, the others are lists"
        reading.odd("error", "answer-form", reading.strings, message, 'write every answer as a list: ["Yes"]')


def as_lists(reading: Reading) -> dict[tuple[str, int], Answers]:
    """The answers of a file that writes each as one string, `Pink; Red`, taken apart; of any other file as they are."""
    if reading.form == "list":
        return reading.answers
    cells = {pair: cell_answers(answers[0]) for pair, answers in reading.answers.items()}
    return {pair: (cell,) if isinstance(cell, str) else cell for pair, cell in cells.items()}
