"""The rows of a run in JSON: the organisers' object of images, or a later edition's list of predictions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from imageclef_vqa.editions import QUESTIONS, Edition
from imageclef_vqa.submission.reading import Reading
from imageclef_vqa.submission.records import COLUMNS, Row, cell_answers

_MOST_ANSWERS = 100
_MOST_DIGITS = 15
_ROW = ("index", "img_id", "question", "answer")


def json_rows(text: str, reading: Reading, edition: Edition) -> Iterator[Row]:
    """The rows of `text`; what is wrong with it goes to `reading`."""
    name = reading.name
    repeated: list[str] = []

    def without_repeats(members: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(members)) < len(members):
            repeated.extend(key for key, count in Counter(key for key, _ in members).items() if count > 1)
        return found

    def no_constant(constant: str) -> None:
        reading.fault("syntax", f"{name}: not JSON: {constant}")

    try:
        content = json.loads(
            text,
            object_pairs_hook=without_repeats,
            parse_constant=no_constant,
            parse_int=lambda digits: int(digits) if len(digits) <= _MOST_DIGITS else digits[:_MOST_DIGITS] + "…",
        )
    except RecursionError:
        reading.fault("syntax", f"{name}: not JSON: nested too deeply to be a run")
        return
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        reading.fault("syntax", f"{name}: not JSON: {error.msg}, {where}{_why_no_json(text, error)}")
        return
    except ValueError as error:
        reading.fault("syntax", f"{name}: not JSON: {error}")
        return
    reading.content = content
    for key in repeated:
        reading.fault("duplicate", f"{name}: {key[:80]!r} stands twice in one object")
    if edition.run_formats[".json"] == "predictions":
        yield from _predictions(content, reading, edition)
    else:
        yield from _images(content, reading)


def _images(images: Any, reading: Reading) -> Iterator[Row]:
    name = reading.name
    if not isinstance(images, dict):
        labels = isinstance(images, list) and bool(images) and isinstance(images[0], dict) and "Labels" in images[0]
        why = ": these are labels, a gt.json, and no run" * labels
        reading.fault("structure", f"{name}: not an object of images, as the organisers' format is{why}")
        return
    if isinstance(images.get("predictions"), list):
        later = "the layout of later editions: check it with --edition gi-2025"
        reading.fault("structure", f"{name}: not an object of images, but {later}")
        return
    for image_id, entries in images.items():
        where_image = f"{name}, {image_id[:80]}"
        if reading.hopeless(where_image):
            return
        if not isinstance(entries, list):
            reading.fault("structure", f"{where_image}: not a list of answers")
            continue
        if not entries:
            reading.fault("structure", f"{where_image}: an empty list")
        if len(entries) > _MOST_ANSWERS:
            reading.fault("size", f"{where_image}: {len(entries):,} answers, an image has {len(QUESTIONS)}")
            continue
        for row, entry in enumerate(entries, start=1):
            where = f"{where_image}, answer {row}"
            if not isinstance(entry, dict) or set(entry) != set(COLUMNS[1:]):
                reading.fault("structure", f"{where}: not an object of {', '.join(COLUMNS[1:])}{_difference(entry)}")
                continue
            # Whether an answer is a list or a string was never enforced: a string is one answer.
            answer = entry["Answer"]
            if isinstance(answer, str):
                reading.strings.append(where)
                answer = [answer]
            else:
                reading.lists += 1
            yield where, image_id, entry["QuestionID"], entry["Question"], answer


def _why_no_json(text: str, error: json.JSONDecodeError) -> str:
    start, rest = text.lstrip(), text[error.pos :].strip()
    if error.msg.startswith("Unterminated string") or (len(rest) < 2 and rest not in ("]", "}")):
        return ": the file ends in the middle"
    if start.startswith(COLUMNS[0]):
        return ": this is CSV: name it .csv"
    if start.startswith("{'"):
        return ": this is Python's way of printing: json.dump writes JSON"
    return ": an object or a list a line: a run is one object" if error.msg == "Extra data" else ""


def _difference(entry: Any) -> str:
    if not isinstance(entry, dict):
        return ""
    lacks, extra = [key for key in COLUMNS[1:] if key not in entry], [key for key in entry if key not in COLUMNS]
    said = [f"{verb} {', '.join(keys)[:80]}" for verb, keys in (("lacks", lacks), ("has", extra)) if keys]
    return f": {'; '.join(said)}" * bool(said)


def _predictions(content: Any, reading: Reading, edition: Edition) -> Iterator[Row]:
    name = reading.name
    rows = content.get("predictions") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        reading.fault("structure", f"{name}: not an object with a list of predictions")
        return
    for index, row in enumerate(rows):
        where = f"{name}, prediction {index}"
        if reading.hopeless(where):
            return
        if not isinstance(row, dict) or not set(_ROW) <= set(row):
            reading.fault("structure", f"{where}: not an object of {', '.join(_ROW)}")
            continue
        if row["index"] != index or type(row["index"]) is not int:
            reading.fault("structure", f"{where}: index is {row['index']!r:.40}, not {index}")
        question = edition.find(row["question"]) if isinstance(row["question"], str) else None
        if question is None:
            reading.fault("question-id", f"{where}: question is {row['question']!r:.80}, none of the {len(QUESTIONS)}")
            continue
        if not isinstance(row["answer"], str):
            reading.fault("answer-form", f"{where}: answer is {row['answer']!r:.80}; this edition takes one string")
            if isinstance(row["img_id"], str):
                reading.faulty.add((row["img_id"], question.id))
            continue
        yield where, row["img_id"], question.id, row["question"], cell_answers(row["answer"])
