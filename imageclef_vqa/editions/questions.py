"""The question bank of MEDVQA-GI 2023, task 1, as the organisers' files spell it, with the facts of each question.

The texts are those of `gt.json` ("instrumnets" included); a submission must repeat them exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Asks = Literal["colour", "count", "kind", "location", "presence", "size", "yes_no"]
About = Literal["abnormality", "box", "finding", "instrument", "landmark", "polyp", "procedure", "text"]
AnswerType = Literal["Number", "Text", "Yes/No"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question of a closed bank. No two questions of a bank share both `asks` and `about`.

    Attributes:
        id: position in the bank, from 0.
        text: the organisers' spelling.
        asks: what the answer gives; "presence" asks which kinds are there.
        about: the thing that the question is about.
        topic: the shortest words that tell it from the other questions. `tiny` was pre-trained on them: keep them.
        label: a short name for tables.
        known: every answer of the development set: locations in the order in which the labels list the members of a
            set, others roughly by frequency. Where a data set never answers the question, the first one is the guess.
        answer_type: `AnswerType` in `gt.json`.
        takes_a_set: whether an answer may have several members.
        aliases: spellings of `text` in the organisers' README and in the paper.
    """

    id: int
    text: str
    asks: Asks
    about: About
    topic: str
    label: str
    known: tuple[str, ...]
    answer_type: AnswerType = "Text"
    takes_a_set: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def spellings(self) -> tuple[str, ...]:
        """Its text and the aliases."""
        return (self.text, *self.aliases)


NOT_RELEVANT = "Not relevant"
_LOCATIONS = (
    *("Center", "Upper-left", "Upper-right", "Lower-left", "Lower-right"),
    *("Center-left", "Center-right", "Upper-center", "Lower-center"),
)
# The labels of landmarks use another order, and the spelling "rigth".
_LANDMARK_LOCATIONS = (
    *("Center", "Center-left", "Center-right", "Upper-center", "Upper-left"),
    *("Upper-right", "Lower-center", "Lower-left", "Lower-rigth"),
)
_ABNORMALITY_COLOURS = (
    *("Pink", "Red", "White", "Yellow", "Orange", "Purple", "Violet", "Brown", "burgundy", "Grey", "Black"),
    *("Blue", "Green", "Pale Pink", "Pink/Red", "Ink"),
)

QUESTIONS: tuple[Question, ...] = (
    Question(
        id=0,
        text="What type of procedure is the image taken from?",
        asks="kind",
        about="procedure",
        topic="procedure",
        label="procedure",
        known=("Colonoscopy", "Gastroscopy"),
    ),
    Question(
        id=1,
        text="Have all polyps been removed?",
        asks="yes_no",
        about="polyp",
        topic="removed",
        label="polyps removed",
        known=(NOT_RELEVANT, "No", "Yes"),
    ),
    Question(
        id=2,
        text="Is this finding easy to detect?",
        asks="yes_no",
        about="finding",
        topic="easy",
        label="easy to detect",
        known=("Yes", "No", NOT_RELEVANT),
    ),
    Question(
        id=3,
        text="Is there a green/black box artefact?",
        asks="yes_no",
        about="box",
        topic="box",
        label="box artefact",
        known=("No", "Yes"),
        answer_type="Yes/No",
        aliases=("Is there a green/black box artifact?",),
    ),
    Question(
        id=4,
        text="Is there text?",
        asks="yes_no",
        about="text",
        topic="text",
        label="text",
        known=("Yes", "No"),
        answer_type="Yes/No",
    ),
    Question(
        id=5,
        text="What color is the abnormality?",
        asks="colour",
        about="abnormality",
        topic="abnormality color",
        label="abnormality: colour",
        known=(*_ABNORMALITY_COLOURS, NOT_RELEVANT),
        takes_a_set=True,
    ),
    Question(
        id=6,
        text="What color is the anatomical landmark?",
        asks="colour",
        about="landmark",
        topic="landmark color",
        label="landmark: colour",
        known=(NOT_RELEVANT, "Pink", "Red", "White", "Yellow", "brown", "grey"),
        takes_a_set=True,
    ),
    Question(
        id=7,
        text="How many findings are present?",
        asks="count",
        about="finding",
        topic="findings",
        label="findings: number",
        known=("1", "2", "0", "3", "4", "5", "6", "16"),
        answer_type="Number",
    ),
    Question(
        id=8,
        text="How many polyps are in the image?",
        asks="count",
        about="polyp",
        topic="polyps",
        label="polyps: number",
        known=("0", "1", "2", "3", "4", "5", "6", "16"),
        answer_type="Number",
    ),
    Question(
        id=9,
        text="How many instrumnets are in the image?",
        asks="count",
        about="instrument",
        topic="instrumnets",
        label="instruments: number",
        known=("0", "1", "2", "3"),
        answer_type="Number",
        aliases=("How many instruments are in the image?",),
    ),
    Question(
        id=10,
        text="Where in the image is the abnormality?",
        asks="location",
        about="abnormality",
        topic="where abnormality",
        label="abnormality: place",
        known=(*_LOCATIONS, NOT_RELEVANT),
        takes_a_set=True,
    ),
    Question(
        id=11,
        text="Where in the image is the instrument?",
        asks="location",
        about="instrument",
        topic="where instrument",
        label="instrument: place",
        known=(NOT_RELEVANT, *_LOCATIONS),
        takes_a_set=True,
    ),
    Question(
        id=12,
        text="Are there any abnormalities in the image?",
        asks="presence",
        about="abnormality",
        topic="abnormalities",
        label="abnormalities",
        known=("Polyp", "Ulcerative colitis", "Oesophagitis", "Barretts", "No"),
        takes_a_set=True,
    ),
    Question(
        id=13,
        text="Are there any anatomical landmarks in the image?",
        asks="presence",
        about="landmark",
        topic="landmarks",
        label="landmarks",
        known=(NOT_RELEVANT, "No", "Z-line", "Cecum", "Pylorus", "Ileum"),
        takes_a_set=True,
    ),
    Question(
        id=14,
        text="Are there any instruments in the image?",
        asks="presence",
        about="instrument",
        topic="instruments",
        label="instruments",
        known=(NOT_RELEVANT, "No", "Tube", "Biopsy forceps", "Polyp snare", "Metal clip", "Injection needle"),
        takes_a_set=True,
    ),
    Question(
        id=15,
        text="Where in the image is the anatomical landmark?",
        asks="location",
        about="landmark",
        topic="where landmark",
        label="landmark: place",
        known=(NOT_RELEVANT, *_LANDMARK_LOCATIONS),
        takes_a_set=True,
    ),
    Question(
        id=16,
        text="What is the size of the polyp?",
        asks="size",
        about="polyp",
        topic="size",
        label="polyp: size",
        known=(NOT_RELEVANT, "< 5mm", "5-10mm", "11-20mm", ">20mm"),
        takes_a_set=True,
    ),
    Question(
        id=17,
        text="What type of polyp is present?",
        asks="kind",
        about="polyp",
        topic="type",
        label="polyp: type",
        known=(NOT_RELEVANT, "Paris ip", "Paris is", "Paris iia"),
        takes_a_set=True,
    ),
)

# Task 2, segmentation: the AnswerType of its rows in the development set, and the ids of its questions.
SEGMENTATION_TYPE = "segmentation"
SEGMENTATION_IDS = (18, 19)
