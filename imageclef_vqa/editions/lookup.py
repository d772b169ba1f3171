"""Finding a question of the bank: by its text, by what it asks, or by what a user typed."""

from __future__ import annotations

import re
from functools import lru_cache

from imageclef_vqa.editions.questions import QUESTIONS, About, Asks, Question
from imageclef_vqa.errors import UsageError

_SHORT_WORD = 3  # letters: "of", "the", "is" do not identify a question


@lru_cache(maxsize=1 << 10)  # a file repeats the same questions for every image
def normalised(text: str) -> str:
    """The text of a question in lower case, with single spaces."""
    return " ".join(text.split()).casefold()


_BY_TEXT = {normalised(spelling): question for question in QUESTIONS for spelling in question.spellings}


def find_question(text: str) -> Question | None:
    """The question with this text or alias, ignoring case and white space; None if the bank has none."""
    return _BY_TEXT.get(normalised(text))


def question_that(asks: Asks, about: About) -> Question:
    """The question of the bank that asks for `asks` of `about`.

    Raises:
        LookupError: the bank has none.
    """
    for question in QUESTIONS:
        if (question.asks, question.about) == (asks, about):
            return question
    raise LookupError(f"no question asks for the {asks} of the {about}")


# The questions that the paper's system routes to a ResNet34 (section 3.3).
PAPER_QUESTIONS = (question_that("size", "polyp").id, question_that("kind", "polyp").id)


def choose_question(text: str) -> Question:
    """The question that a user means: its number, its text or an alias, or a part of the text that is unique.

    If no text contains the part as a whole, the beginnings of its longer words are matched: "color of the abnorm".

    Raises:
        UsageError: no question matches, or several do; the message lists them.
    """
    typed = normalised(text)
    if typed.isdecimal():
        if int(typed) < len(QUESTIONS):
            return QUESTIONS[int(typed)]
        raise UsageError(f"question {typed}: questions are numbered from 0 to {len(QUESTIONS) - 1}")
    if (exact := find_question(typed)) is not None:
        return exact
    texts = {question: normalised("\n".join(question.spellings)) for question in QUESTIONS}
    words = [rf"\b{re.escape(word)}" for word in typed.split() if len(word) > _SHORT_WORD]
    matching = [question for question in QUESTIONS if typed in texts[question]]
    if not matching and words:
        matching = [question for question in QUESTIONS if all(re.search(word, texts[question]) for word in words)]
    if len(matching) == 1:
        return matching[0]
    what = f"{len(matching)} questions match {text!r}" if matching else f"no question matches {text!r}"
    listed = [f"{question.id:>3}  {question.text}" for question in matching or QUESTIONS]
    raise UsageError("\n".join([f"{what}; give the number of one:", *listed]))
