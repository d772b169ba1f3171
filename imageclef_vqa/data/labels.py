"""Reading `gt.json`: every problem told in one line with its record, everything merely odd counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from imageclef_vqa.editions import QUESTIONS, SEGMENTATION_TYPE, GtRecord, find_question
from imageclef_vqa.errors import DataError

_REMEDY = "take the organisers' file as it is, or mend these records"
_RECORD = TypeAdapter(GtRecord)
_ANSWER_TYPES = {question.answer_type for question in QUESTIONS}
_SHOWN_CHARACTERS = 40


@dataclass
class Oddities:
    """What can be used all the same: counted by kind, with the first image that has it."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, image_id: str) -> None:
        self.counts[kind] += 1
        self.examples.setdefault(kind, image_id)

    def lines(self) -> list[str]:
        return [f"{count} × {kind} (e.g. {self.examples[kind]})" for kind, count in self.counts.items()]


@dataclass(frozen=True)
class Labels:
    """Answers by image, in the file's order, with all that was wrong or odd about them."""

    answers: dict[str, dict[int, tuple[str, ...]]]
    problems: list[str]
    oddities: Oddities
    records: dict[str, int]  # image id → place of its record, counted from 1


def read_json(path: Path) -> Any:
    """The content of a JSON file from outside.

    Raises:
        DataError: there is no such file, or it is not JSON.
    """
    try:
        content = path.read_bytes()
        return from_json(content.decode(json.detect_encoding(content)))  # Windows may have written UTF-16
    except FileNotFoundError as error:
        raise DataError([f"{path}: there is no such file"], remedy="unpack the organisers' files there") from error
    except OSError as error:
        raise DataError([f"{path}: cannot be read ({error.strerror})"]) from error
    except ValueError as error:  # syntax, encoding, numbers without end, lists without end in each other
        raise DataError([f"{path}: not JSON: {error}"], remedy="the file may be incomplete: fetch it again") from error


def read_labels(path: Path) -> Labels:
    """The labels in `path`.

    Raises:
        DataError: it is no list of records; faults within records are returned, to be told with those of the images.
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise DataError([f"{path}: {_shown(content)} at the top, where a list of images belongs"], remedy=_REMEDY)
    if not content:
        raise DataError([f"{path}: the list is empty: no image to learn from"], remedy=_REMEDY)
    labels = Labels({}, [], Oddities(), {})
    for number, raw in enumerate(content, start=1):
        image_id = raw.get("ImageID") if isinstance(raw, dict) else None
        where = f"{path}, image {number}" + (f" ({image_id[:_SHOWN_CHARACTERS]})" if isinstance(image_id, str) else "")
        kept = _without_segmentation(raw, labels.oddities)
        try:
            record = _RECORD.validate_python(kept)
        except ValidationError as error:
            labels.problems.extend(_complaints(where, kept, error))
            if any(fault["loc"][:1] in {(), ("ImageID",)} for fault in error.errors()):
                continue
            record = {"ImageID": kept["ImageID"], "Labels": []}  # its image is looked at all the same
        image_id = record["ImageID"]
        if image_id in labels.records:
            labels.problems.append(f"{where}: the same image is already record {labels.records[image_id]}")
            continue
        labels.records[image_id] = number
        labels.answers[image_id] = _answers(where, record, labels)
    if not labels.problems and not any(labels.answers.values()):
        labels.problems.append(f"{path}: no image has an answer to any of the {len(QUESTIONS)} questions of the task")
    return labels


def _without_segmentation(raw: Any, oddities: Oddities) -> Any:
    """The record without its rows for the segmentation task, whose answer is a bare string."""
    if not isinstance(raw, dict) or not isinstance(raw.get("Labels"), list):
        return raw
    rows = [row for row in raw["Labels"] if not (isinstance(row, dict) and row.get("AnswerType") == SEGMENTATION_TYPE)]
    for _ in range(len(raw["Labels"]) - len(rows)):
        oddities.add("segmentation row, left out", str(raw.get("ImageID")))
    return {**raw, "Labels": rows}


def _answers(where: str, record: GtRecord, labels: Labels) -> dict[int, tuple[str, ...]]:
    image_id, answers = record["ImageID"], dict[int, tuple[str, ...]]()  # those that are empty as (), for a while
    for label in record["Labels"]:
        text, answer_type, answer = label["Question"], label["AnswerType"], label["Answer"]
        question = find_question(text)
        if question is None:
            labels.oddities.add(f"unknown question {text[:80]!r}, ignored", image_id)
            continue
        if answer_type not in _ANSWER_TYPES:
            labels.oddities.add(f"unknown answer type {answer_type[:80]!r}", image_id)
        if question.id in answers:
            labels.problems.append(f"{where}, question {question.id}: answered twice; an image answers each once")
            continue
        given = answers[question.id] = tuple(filter(str.strip, answer))
        if not given or len(given) < len(answer):
            labels.oddities.add(f"empty answer to question {question.id}, left out", image_id)
    if len(answers) < len(QUESTIONS):
        for question in QUESTIONS:
            if question.id not in answers:
                labels.oddities.add(f"missing question {question.id} ({question.text})", image_id)
    return answers if all(answers.values()) else {key: given for key, given in answers.items() if given}


def _complaints(where: str, raw: Any, error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False, include_context=False):
        location: Sequence[int | str] = fault["loc"]
        at, value = where, _shown(fault["input"])
        if location[:1] == ("Labels",) and len(location) > 1:
            at += f", {_question(raw['Labels'][location[1]], int(location[1]))}"
        name = next((str(part) for part in reversed(location) if isinstance(part, str)), "record")
        if fault["type"] == "missing":
            yield f"{at}: {name} is missing"
        elif fault["type"] == "extra_forbidden":
            yield f"{at}: unknown field {name[:80]!r}"
        elif name == "Answer":
            yield f"{at}: answer is {value}; answers are lists of strings"
        elif name == "ImageID":
            yield f"{at}: ImageID is {value}; an id is a file name without its extension, and no path"
        elif name == "Labels" and len(location) == 1:
            yield f"{at}: Labels is {value}; it is a list of questions with answers"
        elif name in {"Question", "AnswerType"}:
            yield f"{at}: {name} is {value}; it is a string"
        else:
            yield f"{at}: {value}, where an object with fields belongs"


def _question(row: Any, number: int) -> str:
    text = row.get("Question") if isinstance(row, dict) else None
    question = find_question(text) if isinstance(text, str) else None
    return f"question {question.id}" if question else f"row {number + 1}"


def _shown(value: Any) -> str:
    kinds = {bool: "a truth value", int: "a number", float: "a number", str: "a string", list: "a list"}
    kind = "null" if value is None else kinds.get(type(value), "an object")
    if isinstance(value, (list, dict)) or value is None:
        return kind
    text = json.dumps(value)
    return f"{text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + '…'}, {kind}"
