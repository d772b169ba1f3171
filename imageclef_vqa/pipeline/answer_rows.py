"""Answers in the forms in which people keep them, row by row, and to which rows of the data they belong.

`predictions_1.json`, ms-swift's JSON lines, CSV, Parquet, and our own predictions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from imageclef_vqa.data.tables import conversation, read_table
from imageclef_vqa.editions import QUESTIONS, read_predictions
from imageclef_vqa.errors import DataError, UsageError, shortened
from imageclef_vqa.inputs import read_bytes
from imageclef_vqa.pipeline.answers import Questions
from imageclef_vqa.submission.sentences import LARGEST, read_sentences

_IMAGE = ("img_id", "image_id", "ImageID", "image", "image_path")
_QUESTION = ("question", "Question", "query")
_ANSWER = ("prediction", "predicted_answer", "response", "generated_answer", "answer", "Answer")
_PROBABILITY = ("probability", "confidence", "confidence_score")
_EXTENSIONS = (".jpg", ".jpeg", ".png")
SUFFIXES = (".json", ".jsonl", ".csv", ".parquet")


class AnswerRow(NamedTuple):
    """One answer of a file: `number` is its position among the rows of the data, if the file gives one."""

    where: str
    number: int | None
    image_id: str
    question: str
    answer: str
    probability: float | None = None


@dataclass
class Matched:
    """The answers by image and row, and what belongs to none: `strangers`, and answers to a row that has one."""

    answers: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    probabilities: dict[tuple[str, int], float] = field(default_factory=dict)
    strangers: list[AnswerRow] = field(default_factory=list)
    repeated: list[AnswerRow] = field(default_factory=list)


def read_answer_rows(path: Path) -> list[AnswerRow]:
    """The answers in a file, in its order.

    Raises:
        UsageError: a file of another kind.
        FileError, DataError: it cannot be read; every row that cannot be used is named.
    """
    if path.suffix == ".json":
        run = read_sentences(read_bytes(path, LARGEST))
        unusable = [each for each in run.findings if each.check not in ("empty", "duplicate-key")]
        if unusable:
            raise DataError([f"{path}: {each.what}" for each in unusable], remedy=unusable[0].remedy)
        return [AnswerRow(f"{path}, {r.where}", r.number, r.image_id, r.question, r.answer) for r in run.rows]
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: answers are read from {', '.join(SUFFIXES)}")
    rows: list[AnswerRow] = []
    problems: list[str] = []
    for row in read_table(path, pictures=False):
        if row.content is not None and "question_id" in row.content and "answers" in row.content:
            return _own(path)
        try:
            if row.content is None:
                raise ValueError(row.fault)
            rows.append(_generic(row.where, row.content))
        except ValueError as error:
            problems.append(f"{row.where}: {error}")
    if problems:
        remedy = "a row names image, question and answer (img_id, question, answer), or is one of ms-swift's"
        raise DataError(shortened(problems), remedy=remedy)
    if not rows:
        raise DataError([f"{path}: no answer there"])
    return rows


def _own(path: Path) -> list[AnswerRow]:
    """The rows of a file of predictions, as `medvqa predict` writes them."""
    return [
        AnswerRow(
            f"{path}, line {number}",
            each.question_id,
            each.image_id,
            each.question or QUESTIONS[each.question_id].text,
            "; ".join(each.answers),
            each.probability,
        )
        for number, each in enumerate(read_predictions(path), start=1)
    ]


def _generic(where: str, content: Mapping[str, Any]) -> AnswerRow:
    """A row of a table.

    Raises:
        ValueError: it lacks image, question or answer.
    """
    found = dict(content)
    if "messages" in content:
        found = conversation(content) | {name: content[name] for name in _ANSWER if name in content}
    image, question, answer = (
        next((found[name] for name in names if found.get(name) is not None), None)
        for names in (_IMAGE, _QUESTION, _ANSWER)
    )
    if not isinstance(image, str) or not image:
        raise ValueError(f"no image id ({', '.join(_IMAGE)})")
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"no question ({', '.join(_QUESTION)})")
    if not isinstance(answer, str):
        raise ValueError(f"no answer ({', '.join(_ANSWER)})")
    name = Path(image).name
    stem = Path(name).stem if Path(name).suffix.lower() in _EXTENSIONS else name
    index = found.get("index")
    return AnswerRow(where, index if type(index) is int else None, stem, question, answer, _probability(found))


def _probability(found: Mapping[str, Any]) -> float | None:
    for name in _PROBABILITY:
        try:
            value = float(found[name])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(value) and 0 <= value <= 1:
            return value
    return None


def match_rows(rows: Sequence[AnswerRow], questions: Questions) -> Matched:
    """Each answer to the row of its image and question; where one is asked twice, by its index, then in order."""
    free: dict[tuple[str, str], list[int]] = {}
    for (image_id, row), question in questions.items():
        free.setdefault((image_id, _plain(question.text)), []).append(row)
    matched = Matched()
    for each in rows:
        key = (each.image_id, _plain(each.question))
        if key not in free:
            matched.strangers.append(each)
        elif not free[key]:
            matched.repeated.append(each)
        else:
            row = free[key].pop(free[key].index(each.number) if each.number in free[key] else 0)
            matched.answers[each.image_id, row] = (each.answer,)
            if each.probability is not None:
                matched.probabilities[each.image_id, row] = each.probability
    return matched


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
