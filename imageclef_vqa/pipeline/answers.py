"""Answers as the pipeline joins them: from predictions, run files, runs of the workspace, and gold labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from imageclef_vqa.data import Dataset
from imageclef_vqa.data.labels import read_labels
from imageclef_vqa.data.qa import read_qa
from imageclef_vqa.editions import Edition, OpenQuestion, Prediction
from imageclef_vqa.errors import DataError, shortened

Answers = Mapping[tuple[str, int], tuple[str, ...]]  # (image id, question id) → answers
Questions = Mapping[tuple[str, int], OpenQuestion]  # (image id, row) → open question
FOLDS = ("val", "test")


def answers_of(predictions: Iterable[Prediction]) -> dict[tuple[str, int], tuple[str, ...]]:
    """(image id, question id) → answers."""
    return {(each.image_id, each.question_id): each.answers for each in predictions}


def probabilities_of(predictions: Iterable[Prediction]) -> dict[tuple[str, int], float]:
    """(image id, question id) → the probability of the answers."""
    return {(each.image_id, each.question_id): each.probability for each in predictions}


def spell(answers: Answers, edition: Edition) -> dict[tuple[str, int], tuple[str, ...]]:
    """Answers in the spelling of 2023 as `edition` spells them."""
    return {pair: edition.spell(pair[1], given) for pair, given in answers.items()}


def questions_of(dataset: Dataset) -> dict[tuple[str, int], OpenQuestion]:
    """(image id, row) → open question; empty for closed ones."""
    return {(each.image_id, row): question for each in dataset.examples for row, question in each.questions.items()}


def commonest_answers(training: Dataset, questions: Questions) -> dict[tuple[str, int], tuple[str, ...]]:
    """The commonest training answer to each open question: to the same text, else to the same classes, else to any."""
    counts: dict[object, Counter[tuple[str, ...]]] = {}
    for example in training.examples:
        for row, answers in example.answers.items():
            for key in _keys(example.questions[row]):
                counts.setdefault(key, Counter())[answers] += 1
    best = {key: min(of, key=lambda answers: (-of[answers], answers)) for key, of in counts.items()}
    return {
        pair: next((best[key] for key in _keys(question) if key in best), ()) for pair, question in questions.items()
    }


def _keys(question: OpenQuestion) -> tuple[object, ...]:
    """What a question has in common with others, from the most to the least specific."""
    return " ".join(question.text.casefold().split()), question.classes, None


def read_gold(path: Path) -> tuple[dict[tuple[str, int], tuple[str, ...]], dict[str, int], Questions]:
    """Gold answers in a `gt.json` or a `qa.jsonl` without its images.

    The first is by image and question, the second the position of each image's (first) record, from 1, and the third
    the open questions, by image and row.

    Raises:
        DataError: everything in it that is no label.
    """
    labels = read_qa(path, labelled=True) if path.suffix == ".jsonl" else read_labels(path)
    if labels.problems:
        raise DataError(shortened(labels.problems))
    gold = {(image_id, q): answers for image_id, all_ in labels.answers.items() for q, answers in all_.items()}
    questions = {(image_id, row): each for image_id, rows in labels.questions.items() for row, each in rows.items()}
    return gold, labels.records, questions
