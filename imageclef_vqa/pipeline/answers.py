"""Answers as the pipeline joins them: from predictions, run files, runs of the workspace, and gold labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from imageclef_vqa.data.labels import read_labels
from imageclef_vqa.editions import Edition, Prediction
from imageclef_vqa.errors import DataError, shortened

Answers = Mapping[tuple[str, int], tuple[str, ...]]  # (image id, question id) → answers
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


def read_gold(path: Path) -> tuple[dict[tuple[str, int], tuple[str, ...]], dict[str, int]]:
    """Gold answers in a `gt.json` without its images, and the position of each image's record there, from 1.

    Raises:
        DataError: everything in it that is no label.
    """
    labels = read_labels(path)
    if labels.problems:
        raise DataError(shortened(labels.problems))
    gold = {(image_id, q): answers for image_id, all_ in labels.answers.items() for q, answers in all_.items()}
    return gold, labels.records
