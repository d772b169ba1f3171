"""Open questions: those that a data set brings along, in the rows of a `qa.jsonl`, with sentences as answers.

A row has a number, its position in the file from 0, which plays the part of a question's id: (image id, row) names a
pair of image and question. So the same question may be asked twice about an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from imageclef_vqa.editions.records import ImageId


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """The question of one row.

    `complexity` is the number of facts that the answer joins, 1 to 3, and `classes` what they are about, as in
    Kvasir-VQA-x1; None and () where the data do not say.
    """

    text: str
    complexity: int | None = None
    classes: tuple[str, ...] = ()


class QARow(BaseModel):
    """One line of `qa.jsonl`, with the columns of Kvasir-VQA-x1. Other fields are ignored.

    `answer` is None in a test set without gold answers.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    img_id: ImageId
    question: str = Field(min_length=1)
    answer: str | None = None
    complexity: int | None = Field(default=None, ge=1)
    question_class: tuple[str, ...] = ()

    @field_validator("question", "answer")
    @classmethod
    def _not_blank(cls, text: str | None) -> str | None:
        if text is not None and not text.strip():
            raise ValueError("blank")
        return text

    @field_validator("question_class", mode="before")
    @classmethod
    def _as_list(cls, classes: Any) -> Any:
        return () if classes is None else (classes,) if isinstance(classes, str) else classes

    @property
    def open_question(self) -> OpenQuestion:
        return OpenQuestion(self.question, self.complexity, self.question_class)
