"""Answers are sets: comparing them, and writing a set in one canonical form.

The competition compares an answer as a set of exact strings (`facts`: exact match as sets, inferred); this module is
the only place that knows how.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

SEPARATOR = "; "


def as_set(answers: Iterable[str]) -> frozenset[str]:
    """The members of an answer, surrounding white space apart."""
    return frozenset(answer.strip() for answer in answers)


def same_answer(given: Iterable[str], gold: Iterable[str]) -> bool:
    """Whether two answers are one set of exact strings: order and repeats do not count, case does."""
    return as_set(given) == as_set(gold)


def join_answers(answers: Iterable[str]) -> str:
    """One cell of text for a list of answers: `Pink; Red`, or a JSON list where that could not be read back.

    `split_answers` is its inverse for every list of strings.
    """
    answers = list(answers)
    text = SEPARATOR.join(answers)
    return text if text and not text.startswith("[") and text.split(SEPARATOR) == answers else json.dumps(answers)


def split_answers(text: str) -> list[str]:
    """The answers in one cell of text, as `join_answers` writes them.

    Raises:
        ValueError: the cell starts like a JSON list of strings but is none.
    """
    if not text.startswith("["):
        return text.split(SEPARATOR)
    answers = json.loads(text)
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise ValueError("not a list of strings")
    return answers
