"""The 18 questions of MEDVQA-GI 2023, task 1, as the organisers' files spell them.

Questions are known by id. The strings are those of `gt.json` ("instrumnets" included), which is also what a
submission must hold; `aliases` are the spellings of the organisers' README and of the paper.
`known` lists every answer seen in the development set in canonical order, which is the labels' own where they keep
one (locations) and roughly that of frequency elsewhere. Where a data set has no answers to a question, they are all
that can be said, and the first one is the guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from imageclef_vqa.errors import UsageError


class Kind(str, Enum):
    """How an answer is formed."""

    CHOICE = "one of"
    YES_NO = "yes/no"
    NUMBER = "number"
    SET = "set"


@dataclass(frozen=True)
class Question:
    """One of the fixed questions."""

    id: int
    text: str
    kind: Kind
    known: tuple[str, ...]
    aliases: tuple[str, ...] = ()

    @property
    def answer_type(self) -> str:
        """The `AnswerType` of `gt.json`."""
        return {Kind.NUMBER: "Number", Kind.YES_NO: "Yes/No"}.get(self.kind, "Text")

    @property
    def takes_a_set(self) -> bool:
        return self.kind is Kind.SET

    @property
    def keeps_order(self) -> bool:
        """Whether the labels list the members of an answer in the order of `known`: places, but not colours."""
        return "Center" in self.known


NOT_RELEVANT = "Not relevant"
_LOCATIONS = (
    "Center",
    "Upper-left",
    "Upper-right",
    "Lower-left",
    "Lower-right",
    "Center-left",
    "Center-right",
    "Upper-center",
    "Lower-center",
)
# The landmark's list has an order and a spelling of its own.
_LANDMARK_LOCATIONS = (
    "Center",
    "Center-left",
    "Center-right",
    "Upper-center",
    "Upper-left",
    "Upper-right",
    "Lower-center",
    "Lower-left",
    "Lower-rigth",
)
_ABNORMALITY_COLOURS = (
    *("Pink", "Red", "White", "Yellow", "Orange", "Purple", "Violet", "Brown", "burgundy", "Grey", "Black"),
    *("Blue", "Green", "Pale Pink", "Pink/Red", "Ink"),
)

QUESTIONS: tuple[Question, ...] = (
    Question(0, "What type of procedure is the image taken from?", Kind.CHOICE, ("Colonoscopy", "Gastroscopy")),
    Question(1, "Have all polyps been removed?", Kind.CHOICE, (NOT_RELEVANT, "No", "Yes")),
    Question(2, "Is this finding easy to detect?", Kind.CHOICE, ("Yes", "No", NOT_RELEVANT)),
    Question(
        3,
        "Is there a green/black box artefact?",
        Kind.YES_NO,
        ("No", "Yes"),
        aliases=("Is there a green/black box artifact?",),
    ),
    Question(4, "Is there text?", Kind.YES_NO, ("Yes", "No")),
    Question(5, "What color is the abnormality?", Kind.SET, (*_ABNORMALITY_COLOURS, NOT_RELEVANT)),
    Question(
        6,
        "What color is the anatomical landmark?",
        Kind.SET,
        (NOT_RELEVANT, "Pink", "Red", "White", "Yellow", "brown", "grey"),
    ),
    Question(7, "How many findings are present?", Kind.NUMBER, ("1", "2", "0", "3", "4", "5", "6", "16")),
    Question(8, "How many polyps are in the image?", Kind.NUMBER, ("0", "1", "2", "3", "4", "5", "6", "16")),
    Question(
        9,
        "How many instrumnets are in the image?",
        Kind.NUMBER,
        ("0", "1", "2", "3"),
        aliases=("How many instruments are in the image?",),
    ),
    Question(10, "Where in the image is the abnormality?", Kind.SET, (*_LOCATIONS, NOT_RELEVANT)),
    Question(11, "Where in the image is the instrument?", Kind.SET, (NOT_RELEVANT, *_LOCATIONS)),
    Question(
        12,
        "Are there any abnormalities in the image?",
        Kind.SET,
        ("Polyp", "Ulcerative colitis", "Oesophagitis", "Barretts", "No"),
    ),
    Question(
        13,
        "Are there any anatomical landmarks in the image?",
        Kind.SET,
        (NOT_RELEVANT, "No", "Z-line", "Cecum", "Pylorus", "Ileum"),
    ),
    Question(
        14,
        "Are there any instruments in the image?",
        Kind.SET,
        (NOT_RELEVANT, "No", "Tube", "Biopsy forceps", "Polyp snare", "Metal clip", "Injection needle"),
    ),
    Question(
        15,
        "Where in the image is the anatomical landmark?",
        Kind.SET,
        (NOT_RELEVANT, *_LANDMARK_LOCATIONS),
    ),
    Question(
        16,
        "What is the size of the polyp?",
        Kind.SET,
        (NOT_RELEVANT, "< 5mm", "5-10mm", "11-20mm", ">20mm"),
    ),
    Question(
        17,
        "What type of polyp is present?",
        Kind.SET,
        (NOT_RELEVANT, "Paris ip", "Paris is", "Paris iia"),
    ),
)

# Rows of the development set that belong to the segmentation task; task 1 leaves them out.
SEGMENTATION_TYPE = "segmentation"


@lru_cache(maxsize=1 << 10)  # a file asks the same questions of every image
def normalised(text: str) -> str:
    """A question without what spelling varies in: case and white space."""
    return " ".join(text.split()).casefold()


_BY_TEXT = {normalised(spelling): question for question in QUESTIONS for spelling in (question.text, *question.aliases)}


def find_question(text: str) -> Question | None:
    """The question that `text` spells, by its own string or an alias; None if it is not in the bank."""
    return _BY_TEXT.get(normalised(text))


_LITTLE_WORD = 3  # letters: of, the, is


def choose_question(text: str) -> Question:
    """The question that a person means: by its number, by its text or an alias, or by a part that no other one has;
    else by the words of some length that are in it, whole or begun: "color of the abnorm".

    Raises:
        UsageError: none is meant, or several are, which are listed.
    """
    plain = normalised(text)
    if plain.isdecimal():
        if int(plain) < len(QUESTIONS):
            return QUESTIONS[int(plain)]
        raise UsageError(f"question {plain}: they are numbered from 0 to {len(QUESTIONS) - 1}")
    if (exact := find_question(plain)) is not None:
        return exact
    spelt = [(question, normalised("\n".join([question.text, *question.aliases]))) for question in QUESTIONS]
    words = [rf"\b{re.escape(word)}" for word in plain.split() if len(word) > _LITTLE_WORD]
    meant = [question for question, spellings in spelt if plain in spellings]
    meant = meant or [q for q, spellings in spelt if words and all(re.search(word, spellings) for word in words)]
    if len(meant) == 1:
        return meant[0]
    what = f"{len(meant)} questions have {text!r} in them" if meant else f"no question has {text!r} in it"
    listed = [f"{question.id:>3}  {question.text}" for question in meant or QUESTIONS]
    raise UsageError("\n".join([f"{what}; the number alone is enough:", *listed]))
