"""A submission as the organisers ask for it: every image of the list, every question, in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import RootModel, model_validator

from imageclef_vqa.editions import GI_2023, QUESTIONS, Edition, SubmittedAnswer, split_answers
from imageclef_vqa.editions.records import ImageId

Answers = tuple[str, ...]
PairAnswers = Mapping[tuple[str, int], Answers]  # (image id, question id) → answers
Layout = dict[str, list[dict[str, Any]]]  # the organisers' JSON: image id → [{QuestionID, Question, Answer}, …]
Row = tuple[str, Any, Any, Any, Any]  # where it stands, ImageID, QuestionID, Question, Answer: a tuple is of strings
COLUMNS = ("ImageID", "QuestionID", "Question", "Answer")


@lru_cache(maxsize=1 << 12)  # there are few answers to each question
def cell_answers(cell: str) -> Answers | str:
    """The answers in one cell of text; the cell itself where it starts like a JSON list of strings and is none."""
    try:
        return tuple(split_answers(cell))
    except (ValueError, RecursionError):
        return cell


class Submission(RootModel[dict[ImageId, tuple[SubmittedAnswer, ...]]]):
    """Every image answers all questions, each once, in the order of their ids."""

    @model_validator(mode="after")
    def _answers_all_questions(self) -> Submission:
        wanted = tuple(range(len(QUESTIONS)))
        for image_id, answers in self.root.items():
            if tuple(answer.QuestionID for answer in answers) != wanted:
                raise ValueError(f"{image_id} does not answer the questions 0 to {wanted[-1]}, each once, in order")
        return self


def arrange(answers: PairAnswers, image_ids: Sequence[str], edition: Edition = GI_2023) -> Layout:
    """The organisers' layout: images in the order of the id list, then those it does not name; questions by id."""
    layout: Layout = {}
    for image_id in _in_order(image_ids, (image_id for image_id, _ in answers)):
        entries = [
            {
                "QuestionID": question.id,
                "Question": edition.question(question),
                "Answer": list(answers[image_id, question.id]),
            }
            for question in QUESTIONS
            if (image_id, question.id) in answers
        ]
        if entries:
            layout[image_id] = entries
    return layout


def in_order(answers: PairAnswers, image_ids: Sequence[str]) -> dict[tuple[str, int], Answers]:
    """The same answers in the order in which a run holds them."""
    order = _in_order(image_ids, (image_id for image_id, _ in answers))
    pairs = ((image_id, question.id) for image_id in order for question in QUESTIONS)
    return {pair: answers[pair] for pair in pairs if pair in answers}


def _in_order(first: Iterable[str], then: Iterable[str]) -> list[str]:
    return list(dict.fromkeys((*first, *then)))
