"""Reading `qa.jsonl`, the rows of an edition with open questions: every problem names its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from imageclef_vqa.data.labels import Labels, Oddities
from imageclef_vqa.editions.open_questions import QARow
from imageclef_vqa.errors import DataError, MissingFileError
from imageclef_vqa.inputs import LARGEST, open_text

QA_FILE = "qa.jsonl"
_REMEDY = "`medvqa import kvasir-vqa-x1` writes this file from the organisers' data"


def read_qa(path: Path, *, labelled: bool) -> Labels:
    """The rows of `path`, line by line; `labelled` requires answers, and without it none are read.

    Problems of rows are returned, so that they can be reported with those of images.

    Raises:
        DataError: the file cannot be read.
    """
    labels = Labels({}, [], Oddities(), {})
    asked: dict[tuple[str, str], str | None] = {}
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}  # equal classes are one object
    for number, line in _lines(path):
        where = f"{path}, line {number}"
        try:
            row = QARow.model_validate_json(line)
        except ValidationError as error:
            labels.problems.extend(f"{where}: {fault}" for fault in row_faults(error))
            continue
        if labelled and row.answer is None:
            labels.problems.append(f"{where} ({row.img_id}): answer is missing")
            continue
        labels.records.setdefault(row.img_id, number)
        question = row.open_question
        classes = shared.setdefault(question.classes, question.classes)
        index = number - 1
        labels.questions.setdefault(row.img_id, {})[index] = (
            question if classes is question.classes else type(question)(question.text, question.complexity, classes)
        )
        answers = labels.answers.setdefault(row.img_id, {})
        if labelled and row.answer is not None:
            answers[index] = (row.answer,)
        _note_repetition(row, asked, labels.oddities)
    if not labels.records and not labels.problems:
        labels.problems.append(f"{path}: the file is empty")
    return labels


def has_answers(path: Path) -> bool:
    """Whether the first row of a `qa.jsonl` has an answer; false where there is no such file or no such row."""
    try:
        with open_text(path) as file:
            return QARow.model_validate_json(file.readline(LARGEST)).answer is not None
    except (MissingFileError, ValueError):
        return False


def row_faults(error: ValidationError) -> Iterator[str]:
    """What is wrong with a row, field by field."""
    for fault in error.errors(include_url=False, include_context=False):
        name = str(fault["loc"][0]) if fault["loc"] else "row"
        if fault["type"] == "missing":
            yield f"{name} is missing"
        elif name == "img_id":
            yield f"img_id is {fault['input']!r:.80}; an id is a file name without its extension, not a path"
        elif name == "row":
            yield f"not a row of JSON: {fault['msg']}"
        else:
            yield f"{name} is {fault['input']!r:.80}: {fault['msg']}"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of the file with their numbers from 1; a JSON string may hold U+2028, where `splitlines` would cut."""
    try:
        with open_text(path) as file:
            yield from enumerate(file, start=1)
    except MissingFileError as error:
        raise DataError([f"{path}: there is no such file"], remedy=_REMEDY) from error


def _note_repetition(row: QARow, asked: dict[tuple[str, str], str | None], oddities: Oddities) -> None:
    pair = (row.img_id, " ".join(row.question.split()))
    if pair in asked:
        same = asked[pair] == row.answer
        oddities.add("repeated row" if same else "question asked twice about an image, with other answers", row.img_id)
    asked.setdefault(pair, row.answer)
