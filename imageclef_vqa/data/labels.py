"""Reading `gt.json`: each problem is one line that names its record; harmless oddities are counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from imageclef_vqa.editions import QUESTIONS, SEGMENTATION_TYPE, GtRecord, find_question, same_answer
from imageclef_vqa.editions.open_questions import OpenQuestion
from imageclef_vqa.editions.records import Label
from imageclef_vqa.errors import DataError, MissingFileError, printable
from imageclef_vqa.inputs import read_bytes

_REMEDY = "use the organisers' file unchanged, or correct these records"
_RECORD = TypeAdapter(GtRecord)
_ANSWER_TYPES = {question.answer_type for question in QUESTIONS}
_SHOWN_CHARACTERS = 40


@dataclass
class Oddities:
    """Harmless oddities: how many of each kind, and the first image with it."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, image_id: str) -> None:
        self.counts[kind] += 1
        self.examples.setdefault(kind, image_id)

    def lines(self) -> list[str]:
        return [f"{count} × {kind} (e.g. {self.examples[kind]})" for kind, count in self.counts.items()]


@dataclass(frozen=True)
class Labels:
    """Labels in the order of their file.

    Attributes:
        answers: image id → question id → answers, without empty ones.
        problems: what makes the file unusable, one line each.
        oddities: what does not.
        records: image id → number of its record in the file, from 1.
        questions: image id → row → open question; empty for closed questions.
    """

    answers: dict[str, dict[int, tuple[str, ...]]]
    problems: list[str]
    oddities: Oddities
    records: dict[str, int]
    questions: dict[str, dict[int, OpenQuestion]] = field(default_factory=dict)


def read_json(path: Path) -> Any:
    """The content of a JSON file in any encoding of Unicode.

    Raises:
        FileError: it cannot be read.
        DataError: there is no such file, or it is not JSON.
    """
    try:
        content = read_bytes(path)
        return from_json(content.decode(json.detect_encoding(content)))  # Windows programs may write UTF-16
    except MissingFileError as error:
        raise DataError([f"{path}: there is no such file"], remedy="unpack the organisers' files there") from error
    except ValueError as error:  # syntax, encoding, huge numbers, deep nesting
        raise DataError(
            [f"{path}: not JSON: {error}"], remedy="the file may be incomplete: download it again"
        ) from error


def read_labels(path: Path) -> Labels:
    """The labels in `path`. Problems within records are returned, so that they can be reported with those of images.

    Raises:
        DataError: the file is not a list of records.
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise DataError([f"{path}: {_shown(content)} at the top, but a list of images is expected"], remedy=_REMEDY)
    if not content:
        raise DataError([f"{path}: the list of images is empty"], remedy=_REMEDY)
    labels = Labels({}, [], Oddities(), {})
    for number, raw in enumerate(content, start=1):
        image_id = raw.get("ImageID") if isinstance(raw, dict) else None
        name = f" ({printable(image_id[:_SHOWN_CHARACTERS])})" if isinstance(image_id, str) else ""
        where = f"{path}, image {number}{name}"
        kept = _without_extras(raw, labels.oddities)
        try:
            record = _RECORD.validate_python(kept)
        except ValidationError as error:
            labels.problems.extend(_problems(where, kept, error))
            if any(fault["loc"][:1] in {(), ("ImageID",)} for fault in error.errors()):
                continue
            record = {"ImageID": kept["ImageID"], "Labels": []}  # its image is checked nevertheless
        image_id = record["ImageID"]
        if image_id in labels.records:
            again = Labels({}, [], Oddities(), {})
            if _answers(where, record, again) == labels.answers[image_id] and not again.problems:
                labels.oddities.add("repeated record, ignored", image_id)
            else:
                fault = f"the same image is already record {labels.records[image_id]}, with other answers"
                labels.problems.append(f"{where}: {fault}")
            continue
        labels.records[image_id] = number
        labels.answers[image_id] = _answers(where, record, labels)
    if not labels.problems and not any(labels.answers.values()):
        labels.problems.append(f"{path}: no image has an answer to any of the {len(QUESTIONS)} questions of the task")
    return labels


def _without_extras(raw: Any, oddities: Oddities) -> Any:
    """The record without unknown fields and without the rows of the segmentation task, whose answers are strings."""
    if not isinstance(raw, dict) or not isinstance(raw.get("Labels"), list):
        return raw
    image_id = str(raw.get("ImageID"))
    rows = [row for row in raw["Labels"] if not (isinstance(row, dict) and row.get("AnswerType") == SEGMENTATION_TYPE)]
    for _ in range(len(raw["Labels"]) - len(rows)):
        oddities.add("segmentation row, ignored", image_id)
    for fields, known in ((raw, GtRecord), *((row, Label) for row in rows if isinstance(row, dict))):
        for name in fields.keys() - known.__annotations__.keys():
            oddities.add(f"unknown field {name[:80]!r}, ignored", image_id)
    return {**raw, "Labels": rows}


def _answers(where: str, record: GtRecord, labels: Labels) -> dict[int, tuple[str, ...]]:
    """The answers of a record by question id, without empty ones; problems and oddities are added to `labels`."""
    image_id, answers = record["ImageID"], dict[int, tuple[str, ...]]()
    for label in record["Labels"]:
        text, answer_type, answer = label["Question"], label["AnswerType"], label["Answer"]
        question = find_question(text)
        if question is None:
            labels.oddities.add(f"unknown question {text[:80]!r}, ignored", image_id)
            continue
        if answer_type not in _ANSWER_TYPES:
            labels.oddities.add(f"unknown answer type {answer_type[:80]!r}", image_id)
        given = tuple(filter(str.strip, answer))
        if question.id in answers:
            if same_answer(given, answers[question.id]):
                labels.oddities.add(f"repeated answer to question {question.id}, ignored", image_id)
            else:
                labels.problems.append(f"{where}, question {question.id}: answered twice, differently")
            continue
        answers[question.id] = given
        if not given or len(given) < len(answer):
            labels.oddities.add(f"empty answer to question {question.id}, ignored", image_id)
    for question in QUESTIONS:
        if question.id not in answers:
            labels.oddities.add(f"missing question {question.id} ({question.text})", image_id)
    return {question_id: given for question_id, given in answers.items() if given}


def _problems(where: str, raw: Any, error: ValidationError) -> Iterator[str]:
    """One line for each fault of a record."""
    for fault in error.errors(include_url=False, include_context=False):
        location: Sequence[int | str] = fault["loc"]
        at, value = where, _shown(fault["input"])
        if location[:1] == ("Labels",) and len(location) > 1:
            at += f", {_question(raw['Labels'][location[1]], int(location[1]))}"
        name = next((str(part) for part in reversed(location) if isinstance(part, str)), "record")
        if fault["type"] == "missing":
            yield f"{at}: {name} is missing; there are {', '.join(fault['input'])[:80] or 'no fields'}"
        elif name == "Answer":
            yield f"{at}: answer is {value}; answers are lists of strings"
        elif name == "ImageID":
            yield f"{at}: ImageID is {value}; an id is a file name without its extension, not a path"
        elif name == "Labels" and len(location) == 1:
            yield f"{at}: Labels is {value}; it is a list of questions with answers"
        elif name in {"Question", "AnswerType"}:
            yield f"{at}: {name} is {value}; it is a string"
        else:
            yield f"{at}: {value}, but an object is expected"


def _question(row: Any, number: int) -> str:
    """The question of a row; if it is unknown, the number of the row."""
    text = row.get("Question") if isinstance(row, dict) else None
    question = find_question(text) if isinstance(text, str) else None
    return f"question {question.id}" if question else f"row {number + 1}"


def _shown(value: Any) -> str:
    """A JSON value with its type."""
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    kind = "null" if value is None else kinds.get(type(value), "an object")
    if isinstance(value, (list, dict)) or value is None:
        return kind
    text = json.dumps(value)
    return f"{text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + '…'}, {kind}"
