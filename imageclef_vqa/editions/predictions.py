"""Prediction files: JSON lines, one record per image and question."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from imageclef_vqa.editions.records import Prediction
from imageclef_vqa.errors import DataError, shortened
from imageclef_vqa.files import write_text
from imageclef_vqa.inputs import read_text


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write `predictions` to `path`, completely or not at all."""
    write_text(path, predictions_text(predictions))


def predictions_text(predictions: Iterable[Prediction]) -> str:
    """The content of a prediction file: one line of JSON per record."""
    return "".join(prediction.model_dump_json(exclude_defaults=True) + "\n" for prediction in predictions)


def read_predictions(path: Path) -> list[Prediction]:
    """The records of a prediction file, in its order.

    Raises:
        FileError: it cannot be read.
        DataError: lines that are no predictions, and repeated pairs of image and question, each with its line.
    """
    # Not splitlines: it also splits at characters that an answer may contain (U+2028).
    text = read_text(path)
    lines = text.removesuffix("\n").split("\n") if text else []
    predictions: list[Prediction] = []
    problems: list[str] = []
    seen: dict[tuple[str, int], int] = {}
    for number, line in enumerate(lines, start=1):
        try:
            prediction = Prediction.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "record"
            problems.append(f"{path}, line {number}: {field}: {first['msg']}")
            continue
        pair = (prediction.image_id, prediction.question_id)
        if pair in seen:
            problems.append(f"{path}, line {number}: {pair[0]}, question {pair[1]} is already in line {seen[pair]}")
        seen.setdefault(pair, number)
        predictions.append(prediction)
    if problems:
        raise DataError(shortened(problems), remedy="`medvqa predict` or `medvqa route` writes the file again")
    return predictions
