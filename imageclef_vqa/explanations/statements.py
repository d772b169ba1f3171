"""What a model states about a picture: its answers to the questions of the bank, checked against each other.

Answers to open questions are sentences. What they amount to as closed answers, their values, is read from the facts
that they name, so the same rules between questions hold for both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from imageclef_vqa.editions import NOT_RELEVANT, QUESTIONS, Implication, OpenQuestion, Question, contradictions
from imageclef_vqa.editions.facts import Fact, facts_in

Values = tuple[str, ...]
_ASKS = {"color": "colour", "count": "count", "location": "location", "presence": "presence", "size": "size"}
_ASKS |= {"type": "kind"}
_KINDS = {"colour": "colour", "count": "number", "location": "place", "size": "number"}  # others name findings

_THINGS = {
    "abnormality": ("abnormalit", "lesion"),
    "box": ("box", "artefact", "artifact"),
    "finding": ("finding",),
    "instrument": ("instrument",),
    "landmark": ("landmark",),
    "polyp": ("polyp",),
    "text": ("text",),
}
_FRAME = re.compile(rf"\b(?:{'|'.join((*_THINGS['box'], *_THINGS['text']))})(?!ure)", re.IGNORECASE)  # no texture


@dataclass(frozen=True)
class Statement:
    """The model's answer to one question.

    `answers` are as it gave them, `values` what they amount to as closed answers; none if that is not known. `question`
    is None for an open question that is not in the bank.
    """

    asked: str
    question: Question | None
    answers: Values
    values: Values
    probability: float
    trained: bool = True

    @property
    def relevant(self) -> bool:
        """Whether it says anything."""
        return bool(self.values) and self.values != (NOT_RELEVANT,)

    @property
    def facts(self) -> frozenset[Fact]:
        """The findings, places, numbers and colours that the statement holds."""
        held = {fact for text in (*self.answers, *self.values) for fact in facts_in(text)}
        if self.question is not None and self.relevant:
            held |= _implied(self.question, self.values)
        return frozenset(held)


def _implied(question: Question, values: Values) -> set[Fact]:
    """What a closed answer says of the thing that its question is about."""
    about = "box artefact" if question.about == "box" else question.about
    if question.asks in ("presence", "count", "yes_no") and set(values) <= {"No", "0"}:
        return {Fact("finding", f"no {about}")} if question.topic not in ("removed", "easy") else set()
    if (about == "polyp" and question.asks != "yes_no") or about in ("box artefact", "text"):
        return {Fact("finding", about)}
    return set()


def values_of(question: Question, sentence: str) -> Values:
    """The closed answers to a question of the bank that a sentence amounts to; none if it is about something else."""
    if not _is_about(question, sentence):
        return ()
    named, found = facts_in(sentence), []
    covered: set[Fact] = set()
    positive = {fact for fact in named if fact.kind == _KINDS.get(question.asks, "finding")}
    if question.asks == "yes_no":
        return _yes_or_no(question, sentence, named)
    for answer in question.known:
        own = facts_in(answer) - {Fact("finding", "no")}
        if own and own <= positive and not own <= covered:  # "Pink/Red" says no more than "Pink" and "Red"
            covered |= own
            found.append(answer)
    if question.asks == "count":
        found = found[:1]
    if not found and question.asks in ("count", "presence") and any(fact.value.startswith("no ") for fact in named):
        return ("0",) if question.asks == "count" else ("No",)
    return tuple(found)


def _is_about(question: Question, sentence: str) -> bool:
    """Whether a sentence names the thing that is asked about, or none of the things that questions are about."""
    text = sentence.lower()
    named = {thing for thing, words in _THINGS.items() if any(word in text for word in words)}
    own = {question.about, "polyp"} if question.about == "abnormality" else {question.about}
    return not named or bool(named & own)


def asks_about_frame(text: str) -> bool:
    """Whether a question is about what stands around the endoscope's field of view: text, or the recorder's box."""
    return bool(_FRAME.search(text))


def _yes_or_no(question: Question, sentence: str, named: frozenset[Fact]) -> Values:
    about = "box artefact" if question.about == "box" else question.about
    first = sentence.strip().lower()
    if Fact("finding", f"no {about}") in named or first.startswith("no"):
        return ("No",)
    there = Fact("finding", about) in named and question.about in ("box", "text")
    return ("Yes",) if there or first.startswith("yes") else ()


def question_of_class(name: str, sentence: str) -> Question | None:
    """The question of the bank that a class of Kvasir-VQA-x1 stands for: `polyp_count`, `abnormality_color`.

    The class `presence` has the answers to three questions; the sentence tells which.
    """
    about, _, asks = name.rpartition("_")
    about = "box" if about.startswith("box") else about
    for question in QUESTIONS:
        if question.about == about and question.asks in (_ASKS.get(asks), "yes_no" if asks == "presence" else None):
            return question
        if name == "presence" and question.asks == "presence" and set(values_of(question, sentence)) - {"No"}:
            return question
    return None


def image_values(rows: Iterable[tuple[OpenQuestion, str]]) -> dict[int, Values]:
    """Question id → values, from the open questions about one image and their sentences."""
    found: dict[int, dict[str, None]] = {}
    for asked, sentence in rows:
        if len(asked.classes) != 1 or (question := question_of_class(asked.classes[0], sentence)) is None:
            continue
        found.setdefault(question.id, {}).update(dict.fromkeys(values_of(question, sentence)))
    return {question: tuple(values) for question, values in found.items() if values}


def contradicted(statements: Sequence[Statement], rules: Sequence[Implication]) -> list[Implication]:
    """The rules that the statements break, the most reliable one for each two questions."""
    image: Mapping[int, Values] = {
        each.question.id: each.values
        for each in statements
        if each.question is not None and each.values and each.trained
    }
    found: dict[frozenset[int], Implication] = {}
    for rule in contradictions(image, rules):
        found.setdefault(frozenset((rule.question, rule.then_question)), rule)
    return list(found.values())
