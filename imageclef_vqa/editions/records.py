"""Records of files, checked field by field: labels and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict  # Pydantic needs this one before Python 3.12

from imageclef_vqa.editions.questions import QUESTIONS

# A file name without its extension. A pattern that no path matches: nothing outside a folder can be named.
IMAGE_ID = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"
ImageId = Annotated[str, StringConstraints(pattern=IMAGE_ID)]
QuestionId = Annotated[int, Field(ge=0, strict=True)]
Text = Annotated[str, StringConstraints(strict=True)]
NonEmpty = Annotated[str, StringConstraints(strict=True, min_length=1)]
Probability = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


def _distinct(answers: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(answers)) != len(answers):
        raise ValueError("an answer is repeated")
    return answers


GivenAnswers = Annotated[tuple[NonEmpty, ...], Field(min_length=1), AfterValidator(_distinct)]


class Label(TypedDict):
    """One row of `Labels` in `gt.json`. An answer is a list of strings, even if it is a number."""

    Question: Text
    AnswerType: Text
    Answer: list[Text]


class GtRecord(TypedDict):
    """One image of `gt.json`. A typed dict, because a file has tens of thousands of labels."""

    ImageID: ImageId
    Labels: list[Label]


def gt_record(image_id: str, answers: Mapping[int, Sequence[str]]) -> GtRecord:
    """An entry of `gt.json` with the answers by question id, in this order."""
    labels = [
        Label(Question=QUESTIONS[q].text, AnswerType=QUESTIONS[q].answer_type, Answer=list(given))
        for q, given in answers.items()
    ]
    return GtRecord(ImageID=image_id, Labels=labels)


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Candidate:
    """A possible answer, with its probability among all answers that the question allows.

    A dataclass with slots: a run has a hundred thousand of them, and a model takes twice the memory.
    """

    answers: Annotated[tuple[NonEmpty, ...], Field(min_length=1)]
    probability: Probability


class Prediction(BaseModel):
    """One line of `predictions/<fold>.jsonl`: the answer to one question about one image.

    Attributes:
        question: the text of an open question. `question_id` is then its row in `qa.jsonl`; the answer is one sentence.
        candidates: the most probable answers, best first.
        members: for a question that takes a set, the probability that each member is in it.
        meteor: the expected METEOR of a sentence.
        model: what gave the answer.
        trained: false if the training labels never answer the question.
        prior: true if the image could not be read, and the most frequent training answer was given.
        replaced: the answer that routing or an implication replaced.
        reason: why it was replaced.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_id: ImageId
    question: NonEmpty | None = None
    question_id: QuestionId
    answers: GivenAnswers
    probability: Probability
    candidates: tuple[Candidate, ...] = ()
    members: dict[NonEmpty, Probability] = Field(default_factory=dict)
    meteor: Probability | None = None
    model: str
    trained: bool = True
    prior: bool = False
    replaced: tuple[NonEmpty, ...] | None = None
    reason: str | None = None

    @field_validator("question_id")
    @classmethod
    def _in_the_bank(cls, question_id: int, info: ValidationInfo) -> int:
        if info.data.get("question") is None and question_id >= len(QUESTIONS):
            raise ValueError(f"the bank has questions 0 to {len(QUESTIONS) - 1}; an open one has its text")
        return question_id


def candidates_of(prediction: Prediction) -> tuple[Candidate, ...]:
    """The candidates of a prediction; if it has none, its answer is the only one."""
    return prediction.candidates or (Candidate(answers=prediction.answers, probability=prediction.probability),)
