"""The oddities of the real labels, few enough that only who cannot cope with them is hurt."""

from __future__ import annotations

import shutil
from copy import deepcopy
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from imageclef_vqa.editions.questions import QUESTIONS, SEGMENTATION_TYPE

Record = dict[str, Any]

_EASY, _COLOUR, _FINDINGS, _POLYPS, _INSTRUMENTS = (QUESTIONS[number].text for number in (2, 5, 7, 8, 9))
# A smaller set would be hurt.
_FEWEST_IMAGES = 24
_CONFLICTING_PAIRS = 2
_SHUFFLED_COLOURS, _SEGMENTED_POLYPS = 0.25, 0.3


def add_quirks(records: list[Record], images: Path, rng: np.random.Generator) -> None:
    """Spoil `records` (sorted by id), and the pictures in `images`, as those of the real development set are.

    Lists of colours lose their order, polyps get rows of the segmentation task with a bare string; and once each, or
    twice: byte-identical pictures that disagree, `purple` beside `Purple`, a colour for a number, an empty answer.
    """
    if len(records) < _FEWEST_IMAGES:
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
    """The list that answers `question`, to be changed in place."""
    answer: list[str] = next(row["Answer"] for row in record["Labels"] if row["Question"] == question)
    return answer


def _add_conflicting_pairs(records: list[Record], images: Path) -> None:
    """Make the last picture of a batch a copy of another one there, and let the two disagree on what is easy."""
    batches = [list(batch) for _, batch in groupby(records, key=lambda record: str(record["ImageID"])[:5])]
    for batch in batches[:_CONFLICTING_PAIRS]:
        copied = batch[-1]
        original = next(record for record in batch if _answer(record, _COLOUR) != ["Purple"])
        shutil.copyfile(images / f"{original['ImageID']}.jpg", images / f"{copied['ImageID']}.jpg")
        copied["Labels"] = deepcopy(original["Labels"])
        easy = _answer(copied, _EASY)
        easy[:] = ["No"] if easy == ["Yes"] else ["Yes"]
