"""Answers are sets of exact strings: comparing them, and writing a set as one string.

The organisers do not say how they compare answers; exact match of sets is inferred from the published scores.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from imageclef_vqa.inputs import parse_json

SEPARATOR = "; "


def as_set(answers: Iterable[str]) -> frozenset[str]:
    """The members of an answer without surrounding white space."""
    return frozenset(answer.strip() for answer in answers)


def same_answer(given: Iterable[str], gold: Iterable[str]) -> bool:
    """Whether two answers are the same set: case counts, but order and repetitions do not."""
    return as_set(given) == as_set(gold)


def join_answers(answers: Iterable[str]) -> str:
    """A list of answers as one string: `Pink; Red`, or a JSON list if that would be ambiguous.

    `split_answers` is the inverse for every list of strings.
    """
    answers = list(answers)
    text = SEPARATOR.join(answers)
    return text if text and not text.startswith("[") and text.split(SEPARATOR) == answers else json.dumps(answers)


def split_answers(text: str) -> list[str]:
    """The list of answers that `join_answers` wrote.

    Raises:
        ValueError: the text starts like a JSON list, but is no list of strings.
    """
    if not text.startswith("["):
        return text.split(SEPARATOR)
    answers = parse_json(text)
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise ValueError("not a list of strings")
    return answers
