"""The oddities of the real labels, in small numbers: they do no harm to code that handles them."""

from __future__ import annotations

import shutil
from copy import deepcopy
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from imageclef_vqa.editions import SEGMENTATION_TYPE, question_that

Record = Any  # a GtRecord; rows of the segmentation task do not have its types

_EASY = question_that("yes_no", "finding").text
_COLOUR = question_that("colour", "abnormality").text
_FINDINGS = question_that("count", "finding").text
_POLYPS = question_that("count", "polyp").text
_INSTRUMENTS = question_that("count", "instrument").text
_MIN_IMAGES = 24  # smaller sets stay clean
_CONFLICTING_PAIRS = 2
_SHUFFLED_COLOURS, _SEGMENTED_POLYPS = 0.25, 0.3


def add_quirks(records: list[Record], images: Path, rng: np.random.Generator) -> None:
    """Add the oddities of the real development set to `records` (sorted by id) and to the files in `images`.

    Some lists of colours are reversed, and some polyps get a row of the segmentation task, whose answer is a string.
    Once or twice each: byte-identical images with different answers, `purple` beside `Purple`, a colour instead of a
    number, an empty answer.
    """
    if len(records) < _MIN_IMAGES:
        return
    _add_conflicting_pairs(records, images)
    for record in records:
        colours = _answer(record, _COLOUR)
        if rng.random() < _SHUFFLED_COLOURS:
            colours.reverse()
        if _answer(record, _POLYPS) != ["0"] and rng.random() < _SEGMENTED_POLYPS:
            record["Labels"].append(
                {
                    "Question": "Where exactly in the image is the polyp located?",
                    "AnswerType": SEGMENTATION_TYPE,
                    "Answer": f"{record['ImageID']}_mask.png",
                }
            )
    purple = next(record for record in records if _answer(record, _COLOUR) == ["Purple"])
    _answer(purple, _COLOUR)[:] = ["purple"]
    one, other = rng.choice(len(records), 2, replace=False)
    _answer(records[one], _FINDINGS)[:] = ["Pink"]
    _answer(records[other], _INSTRUMENTS)[:] = [""]


def _answer(record: Record, question: str) -> list[str]:
    """The list of answers to `question`, to be changed in place."""
    answer: list[str] = next(row["Answer"] for row in record["Labels"] if row["Question"] == question)
    return answer


def _add_conflicting_pairs(records: list[Record], images: Path) -> None:
    """Replace the last image of a batch by a copy of another one with a different answer to one question."""
    batches = [list(batch) for _, batch in groupby(records, key=lambda record: str(record["ImageID"])[:5])]
    for batch in batches[:_CONFLICTING_PAIRS]:
        copied = batch[-1]
        original = next(record for record in batch if _answer(record, _COLOUR) != ["Purple"])
        shutil.copyfile(images / f"{original['ImageID']}.jpg", images / f"{copied['ImageID']}.jpg")
        copied["Labels"] = deepcopy(original["Labels"])
        easy = _answer(copied, _EASY)
        easy[:] = ["No"] if easy == ["Yes"] else ["Yes"]
