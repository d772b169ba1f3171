"""A run: its answers, their order, the facts that checks compare them with, and the findings that they report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, TypeGuard

from pydantic import BaseModel, ConfigDict

from imageclef_vqa.editions import GI_2023, QUESTIONS, Edition, Implication, Vocabulary
from imageclef_vqa.errors import printable

Pair = tuple[str, int]  # image id, question id
Answers = tuple[str, ...]
PairAnswers = Mapping[Pair, Answers]
Layout = dict[str, list[dict[str, Any]]]  # the organisers' JSON: image id → [{QuestionID, Question, Answer}, …]
COLUMNS = ("ImageID", "QuestionID", "Question", "Answer")
Severity = Literal["error", "warning"]
EXAMPLES = 3  # of a finding


@dataclass(frozen=True)
class RunAnswers:
    """The answers of a run, the images that it must answer, and reference data in the spelling of its edition.

    Attributes:
        answers: in the order of the file.
        image_ids: the test list, in order.
        vocabulary: the answers of the training labels.
        bank: the answers that the competition is known to use.
        spellings: question id → strings of the labels that `vocabulary` spells differently.
        implications: rules between questions, learnt from the training labels.
        validation: answers of the same model to the validation images.
        listed: False if no test list is known and `image_ids` are those of the file itself.
        faulty: pairs whose answer the file holds in an unusable form; they are not missing.
        by_question: question id → (image id, answers), in the order of the file.
        by_image: image id → question id → answers.
    """

    answers: PairAnswers
    image_ids: Sequence[str]
    vocabulary: Vocabulary
    bank: Vocabulary = field(default_factory=lambda: GI_2023.bank)
    spellings: Mapping[int, frozenset[str]] = field(default_factory=dict)
    implications: Sequence[Implication] = ()
    validation: PairAnswers = field(default_factory=dict)
    listed: bool = True
    faulty: frozenset[Pair] = frozenset()
    by_question: dict[int, list[tuple[str, Answers]]] = field(init=False)
    by_image: dict[str, dict[int, Answers]] = field(init=False)

    def __post_init__(self) -> None:
        by_question: dict[int, list[tuple[str, Answers]]] = {question.id: [] for question in QUESTIONS}
        for (image_id, question_id), answers in self.answers.items():
            by_question[question_id].append((image_id, answers))
        object.__setattr__(self, "by_question", by_question)
        object.__setattr__(self, "by_image", images_of(self.answers))


def images_of(answers: PairAnswers) -> dict[str, dict[int, Answers]]:
    """Image id → question id → answers."""
    images: dict[str, dict[int, Answers]] = {}
    for (image_id, question_id), given in answers.items():
        images.setdefault(image_id, {})[question_id] = given
    return images


def in_order(answers: PairAnswers, image_ids: Sequence[str]) -> dict[Pair, Answers]:
    """The answers in the order of a run: images as in `image_ids`, then all others; questions by id."""
    order = dict.fromkeys((*image_ids, *(image_id for image_id, _ in answers)))
    pairs = ((image_id, question.id) for image_id in order for question in QUESTIONS)
    return {pair: answers[pair] for pair in pairs if pair in answers}


def arrange(answers: PairAnswers, image_ids: Sequence[str], edition: Edition = GI_2023) -> Layout:
    """The answers in the organisers' layout and the order of `in_order`."""
    layout: Layout = {}
    for (image_id, question_id), given in in_order(answers, image_ids).items():
        entry = {"QuestionID": question_id, "Question": edition.question(QUESTIONS[question_id]), "Answer": list(given)}
        layout.setdefault(image_id, []).append(entry)
    return layout


class Finding(BaseModel):
    """One kind of problem: how often it occurs, its first few locations, and the next step.

    An error means that the run would be rejected, or scored differently from what is meant; a warning may be intended.
    """

    model_config = ConfigDict(frozen=True)

    severity: Severity
    check: str
    count: int
    message: str
    examples: tuple[str, ...] = ()
    remedy: str

    @property
    def what(self) -> str:
        """The message with its examples."""
        more = "; …" * (self.count > len(self.examples))
        return self.message + f" ({'; '.join(self.examples)}{more})" * bool(self.examples)

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


def finding(
    severity: Severity, check: str, locations: Sequence[str], message: str, remedy: str, *, count: int | None = None
) -> Finding:
    """A finding at `locations`; `count` is given where these are only some of them."""
    return Finding(
        severity=severity,
        check=check,
        count=len(locations) if count is None else count,
        message=message,
        examples=tuple(printable(each)[:200] for each in locations[:EXAMPLES]),
        remedy=remedy,
    )


def error(check: str, locations: Sequence[str], message: str, remedy: str) -> Finding:
    """A finding that keeps a run from being written."""
    return finding("error", check, locations, message, remedy)


def warning(check: str, locations: Sequence[str], message: str, remedy: str) -> Finding:
    """A finding that the competitor decides about."""
    return finding("warning", check, locations, message, remedy)


def errors_in(findings: Sequence[Finding]) -> int:
    """How many of `findings` are errors."""
    return sum(each.severity == "error" for each in findings)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value of JSON is a finite number, and no truth value."""
    return type(value) is int or (isinstance(value, float) and isfinite(value))


def shown(answers: Sequence[str]) -> str:
    """A set of answers in a message, shortened."""
    return repr("; ".join(answers)[:60])


def location(image_id: str, question_id: int, answers: Sequence[str]) -> str:
    """Where an answer stands, and the answer."""
    return f"{image_id[:80]}, question {question_id}: {shown(answers)}"
