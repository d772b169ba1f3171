"""Forty corruptions of a valid run, each with the check that must find it and a part of its message.

Except where the whole file is changed, the first image stays valid: the organisers' checker looks at no other.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from runs import IDS, layout

from imageclef_vqa.editions import QUESTIONS

Layout = dict[str, list[dict[str, Any]]]


class Corruption(NamedTuple):
    """A corruption; `name` is its row in the table of examples/checks."""

    name: str
    check: str
    message: str
    corrupt: Callable[[], bytes]


def _encoded(run: Any) -> bytes:
    return json.dumps(run, ensure_ascii=False).encode()


def _one(question_id: int, answer: Any) -> Callable[[], bytes]:
    """Replace an answer of the eighth image."""
    return _entry(question_id, lambda entry: entry.update(Answer=answer))


def _entry(question_id: int, change: Callable[[dict[str, Any]], Any]) -> Callable[[], bytes]:
    def corrupt() -> bytes:
        run = layout()
        change(run[IDS[7]][question_id])
        return _encoded(run)

    return corrupt


def _all(question_id: int, change: Callable[[list[str]], list[str]]) -> Callable[[], bytes]:
    def corrupt() -> bytes:
        run = layout()
        for entries in run.values():
            entries[question_id]["Answer"] = change(entries[question_id]["Answer"])
        return _encoded(run)

    return corrupt


def _images(change: Callable[[Layout], Any]) -> Callable[[], bytes]:
    def corrupt() -> bytes:
        run = layout()
        return _encoded(change(run) or run)

    return corrupt


def _renamed(new: str) -> Callable[[], bytes]:
    return _images(lambda run: {new if image_id == IDS[7] else image_id: entries for image_id, entries in run.items()})


def _twice() -> bytes:
    run = layout()
    return _encoded(run)[:-1] + f", {json.dumps(IDS[7])}: {json.dumps(run[IDS[7]])}}}".encode()


def _majority(run: Layout) -> None:
    for question in QUESTIONS:
        commonest = Counter(tuple(entries[question.id]["Answer"]) for entries in run.values()).most_common(1)[0][0]
        for entries in run.values():
            entries[question.id]["Answer"] = list(commonest)


def _shuffled(run: Layout) -> None:
    for question in QUESTIONS:
        given = [entries[question.id]["Answer"] for entries in run.values()]
        Random(question.id).shuffle(given)
        for entries, answer in zip(run.values(), given, strict=True):
            entries[question.id]["Answer"] = answer


def _reversed(run: Layout) -> Layout:
    first, *others = run
    return {image_id: run[image_id] for image_id in (first, *others[::-1])}


def _swap_texts(run: Layout) -> None:
    one, other = run[IDS[7]][3], run[IDS[7]][4]
    one["Question"], other["Question"] = other["Question"], one["Question"]


CORRUPTIONS = [
    Corruption("an image is missing", "missing-image", f"1 of 60 test images are not answered ({IDS[59]})",
               _images(lambda run: run.pop(IDS[59]) and None)),
    Corruption("an image has 17 answers", "missing-answer", f"{IDS[7]}, question 17",
               _images(lambda run: run[IDS[7]].pop() and None)),
    Corruption("an image has 19 answers", "duplicate", f"{IDS[7]}, question 17 is already answered",
               _images(lambda run: run[IDS[7]].append(run[IDS[7]][17]))),
    Corruption("an image stands there twice", "duplicate", f"'{IDS[7]}' stands twice", _twice),
    Corruption("an image that is not on the list", "unknown-image", "strange",
               _images(lambda run: {**run, "strange": run[IDS[7]]})),
    Corruption("an image without answers", "structure", f"{IDS[7]}: an empty list",
               _images(lambda run: run.update({IDS[7]: []}))),
    Corruption("an image's answers keyed by number, not listed", "structure", f"{IDS[7]}: not a list of answers",
               _images(lambda run: run.update({IDS[7]: {e["QuestionID"]: e for e in run[IDS[7]]}}))),
    Corruption("images in another order", "image-order", f"{IDS[59]} where {IDS[1]} is due", _images(_reversed)),
    Corruption("questions in another order", "question-order", IDS[7], _images(lambda run: run[IDS[7]].reverse())),
    Corruption("an id with its extension", "extension", f"{IDS[7]}.jpg", _renamed(f"{IDS[7]}.jpg")),
    Corruption("an id in another case", "id-case", f"{IDS[7].upper()}, {IDS[7]} on the list", _renamed(IDS[7].upper())),
    Corruption("an id with a blank behind it", "id-characters", "white space", _renamed(f"{IDS[7]} ")),
    Corruption("an id with a Cyrillic letter", "id-characters", "CYRILLIC SMALL LETTER ES",
               _renamed(IDS[7].replace("c", "с"))),
    Corruption("two questions' texts swapped", "question-text", "which is question 4", _images(_swap_texts)),
    Corruption("a question as the README spells it", "question-text", "Is there a green/black box artifact?",
               _entry(3, lambda entry: entry.update(Question="Is there a green/black box artifact?"))),
    Corruption("a question's number as a string", "question-id", "QuestionID is '4'",
               _entry(4, lambda entry: entry.update(QuestionID="4"))),
    Corruption("a question's number that does not exist", "question-id", "QuestionID is 18",
               _entry(4, lambda entry: entry.update(QuestionID=18))),
    Corruption("a key in lower case", "structure", "lacks Answer; has answer",
               _entry(4, lambda entry: entry.update(answer=entry.pop("Answer")))),
    Corruption("an answer that is null", "answer-form", "Answer is None", _one(4, None)),
    Corruption("a number that is no string", "answer-form", "Answer is [1]", _one(8, [1])),
    Corruption("a list within a list", "answer-form", "Answer is [['Pink', 'Red']]", _one(5, [["Pink", "Red"]])),
    Corruption("a string among lists", "answer-form", "1 answer is a string, the others are lists", _one(4, "Yes")),
    Corruption("a set in one string", "joined", "'Pink; Red' for 'Pink', 'Red'", _one(5, ["Pink; Red"])),
    Corruption("an empty list", "empty", f"{IDS[7]}, question 4", _one(4, [])),
    Corruption("an empty string", "empty", f"{IDS[7]}, question 4", _one(4, [""])),
    Corruption("a member named twice", "repeated", f"{IDS[7]}, question 5: 'Pink; Pink'", _one(5, ["Pink", "Pink"])),
    Corruption("an answer in another case", "vocabulary", "'colonoscopy', spelt 'Colonoscopy'",
               _one(0, ["colonoscopy"])),
    Corruption("an answer with a no-break space", "characters", "NO-BREAK SPACE, 'Not relevant' in training",
               _one(16, ["Not\u00a0relevant"])),
    Corruption("an answer with a Greek letter", "characters", "GREEK CAPITAL LETTER IOTA",
               _one(0, ["Colonoscopy".replace("o", "ο", 1).replace("C", "Ι")])),
    Corruption("an answer cut short", "truncated", "'Ulcerative col', the beginning of 'Ulcerative colitis'",
               _one(12, ["Ulcerative col"])),
    Corruption("an answer to another question", "vocabulary", "'Colonoscopy', which answers question 0",
               _one(4, ["Colonoscopy"])),
    Corruption("an answer that nobody ever gave", "vocabulary", "'a polyp, perhaps'", _one(12, ["a polyp, perhaps"])),
    Corruption("a spreadsheet's formula", "formula", "'=1+1'", _one(7, ["=1+1"])),
    Corruption("two answers where there is one", "arity", f"{IDS[7]}: 'Yes; No'", _one(4, ["Yes", "No"])),
    Corruption('"Not relevant" among places', "company", "'Center; Not relevant'",
               _one(11, ["Center", "Not relevant"])),
    Corruption("one place where training has many", "arity", "question 10: you answer 1.0 values on average, the",
               _all(10, lambda answer: answer[:1])),
    Corruption("the majority answer throughout", "constant", "every question is answered alike", _images(_majority)),
    Corruption("answers shuffled between images", "contradiction", "contradict each other", _images(_shuffled)),
    Corruption("a file cut in the middle", "syntax", "the file ends in the middle",
               lambda: _encoded(layout())[: len(_encoded(layout())) // 2]),
    Corruption("a file in UTF-16", "text", "UTF-16, as spreadsheets write it",
               lambda: json.dumps(layout()).encode("utf-16")),
]  # fmt: skip
