"""The records that files hold, checked field by field: labels, predictions, submissions."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator, with_config
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict  # Pydantic wants it on Python before 3.12

from imageclef_vqa.editions.questions import QUESTIONS

# An id is a file name without its extension: anything that could leave the folder is refused here, once for all.
IMAGE_ID = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"
ImageId = Annotated[str, StringConstraints(pattern=IMAGE_ID)]
QuestionId = Annotated[int, Field(ge=0, lt=len(QUESTIONS), strict=True)]
Text = Annotated[str, StringConstraints(strict=True)]
NonEmpty = Annotated[str, StringConstraints(strict=True, min_length=1)]
Members = TypeVar("Members", tuple[str, ...], list[str])
Probability = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


def _distinct(answers: Members) -> Members:
    if len(set(answers)) != len(answers):
        raise ValueError("an answer is repeated")
    return answers


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


@with_config(ConfigDict(extra="forbid"))
class Label(TypedDict):
    """One row of `Labels` in `gt.json`. An answer is a list of strings, numbers too."""

    Question: Text
    AnswerType: Text
    Answer: list[Text]


@with_config(ConfigDict(extra="forbid"))
class GtRecord(TypedDict):
    """One image of `gt.json`, its labels still unread. A checked dict: there are tens of thousands of labels."""

    ImageID: ImageId
    Labels: list[Label]


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Candidate:
    """One answer that was weighed, with its probability among all answers that the question allows.

    A dataclass, in half the memory of a model: a run holds a hundred thousand.
    """

    answers: Annotated[tuple[NonEmpty, ...], Field(min_length=1)]
    probability: Probability


class Prediction(_Record):
    """One line of `predictions/<fold>.jsonl`: one image, one question.

    `candidates` are the likeliest answers, best first; `members`, for a question about a set, the probability that each
    member is in it; `model` names who gave the answer; `trained` is false where the training labels never answer the
    question; `prior` is true where the image could not be read and the training labels' usual answer stands in.
    Routing adds `replaced`, the answer it overruled, and `reason`; so does a prediction made to keep the rules between
    questions.
    """

    image_id: ImageId
    question_id: QuestionId
    answers: Annotated[tuple[NonEmpty, ...], Field(min_length=1), AfterValidator(_distinct)]
    probability: Probability
    candidates: tuple[Candidate, ...] = ()
    members: dict[NonEmpty, Probability] = Field(default_factory=dict)  # a default in braces is copied, slowly
    model: str
    trained: bool = True
    prior: bool = False
    replaced: tuple[NonEmpty, ...] | None = None
    reason: str | None = None


class SubmittedAnswer(_Record):
    """One answer of a submission, as the organisers ask for it."""

    QuestionID: QuestionId
    Question: Text
    Answer: Annotated[list[NonEmpty], Field(min_length=1), AfterValidator(_distinct)]

    @model_validator(mode="after")
    def _spells_its_question(self) -> SubmittedAnswer:
        expected = QUESTIONS[self.QuestionID].text
        if self.Question != expected:
            raise ValueError(f"question {self.QuestionID} is spelt {expected!r} in the data, here {self.Question!r}")
        return self


def candidates_of(prediction: Prediction) -> tuple[Candidate, ...]:
    """What was weighed; for a record without that, its answer alone."""
    return prediction.candidates or (Candidate(answers=prediction.answers, probability=prediction.probability),)
