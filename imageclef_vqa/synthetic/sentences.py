"""Open questions about drawn scenes and sentences that answer them, in the columns of Kvasir-VQA-x1.

The wordings are our own. A question that is not relevant to a scene is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from imageclef_vqa.editions.questions import NOT_RELEVANT
from imageclef_vqa.synthetic.scene import Scene

_ROWS, _JOINED = 5, 2  # rows about each image with one fact, and facts of a further row that joins several


class _Wording(NamedTuple):
    """How a closed question is asked openly: its class, wordings, and sentences; `{}` stands for the answers."""

    question_class: str
    questions: Sequence[str]
    sentence: str  # of any answer but "No"
    denial: str = ""


_WORDINGS: Mapping[int, _Wording] = {
    0: _Wording(
        "procedure_type",
        ("What type of procedure is the image taken from?", "Which procedure does the image show?"),
        "The image is taken from a {}.",
    ),
    3: _Wording(
        "box_artifact_presence",
        ("Is there a green or black box artefact?", "Does a box artefact cover a part of the image?"),
        "A box artefact is present.",
        "No box artefact is present.",
    ),
    4: _Wording(
        "text_presence",
        ("Is there any text in the image?", "Does the image contain text?"),
        "Text is visible in the image.",
        "No text is visible in the image.",
    ),
    5: _Wording(
        "abnormality_color",
        ("What color is the abnormality?", "Which colors does the abnormality have?"),
        "The abnormality is {}.",
    ),
    8: _Wording(
        "polyp_count",
        ("How many polyps are in the image?", "What number of polyps can be seen?"),
        "The number of polyps is {}.",
    ),
    9: _Wording(
        "instrument_count",
        ("How many instruments are in the image?", "What number of instruments can be seen?"),
        "The number of instruments is {}.",
    ),
    10: _Wording(
        "abnormality_location",
        ("Where in the image is the abnormality?", "Which parts of the image does the abnormality cover?"),
        "The abnormality is located in the {} of the image.",
    ),
    12: _Wording(
        "abnormality_presence",
        ("Are there any abnormalities in the image?", "Which abnormalities are visible?"),
        "The image shows {}.",
        "No abnormality is visible.",
    ),
    13: _Wording(
        "landmark_presence",
        ("Are there any anatomical landmarks in the image?", "Which anatomical landmark is visible?"),
        "The {} is visible.",
        "No anatomical landmark is visible.",
    ),
    14: _Wording(
        "instrument_presence",
        ("Are there any instruments in the image?", "Which instruments are visible?"),
        "Visible in the image: {}.",
        "No instrument is visible.",
    ),
    16: _Wording(
        "polyp_size",
        ("What is the size of the polyp?", "How large is the polyp?"),
        "The size of the polyp is {}.",
    ),
}


def sentence_rows(image_id: str, scene: Scene, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Rows of a `qa.jsonl` about an image: `_ROWS` with one fact, and one that joins `_JOINED` others."""
    answers = scene.answers()
    asked = [number for number in _WORDINGS if answers[number] != (NOT_RELEVANT,)]
    chosen = rng.permutation(asked)[: _ROWS + _JOINED].tolist()
    return [_row(image_id, each, answers, rng) for each in [*([one] for one in chosen[:_ROWS]), chosen[_ROWS:]] if each]


def _row(
    image_id: str, numbers: Sequence[int], answers: Mapping[int, Sequence[str]], rng: np.random.Generator
) -> dict[str, Any]:
    """One row that asks several closed questions at once and answers each with a sentence."""
    wordings = [_WORDINGS[number] for number in numbers]
    return {
        "img_id": image_id,
        "complexity": len(numbers),
        "question": " ".join(str(rng.choice(each.questions)) for each in wordings),
        "answer": " ".join(map(_sentence, wordings, (answers[number] for number in numbers))),
        "question_class": [each.question_class for each in wordings],
    }


def _sentence(wording: _Wording, answers: Sequence[str]) -> str:
    if tuple(answers) == ("No",):
        return wording.denial
    *first, last = (each.replace("rigth", "right").replace("< ", "<").lower() for each in answers)
    return wording.sentence.format(f"{', '.join(first)} and {last}" if first else last)
