"""Answers as the pipeline joins them: from predictions, run files, runs of the workspace, and gold labels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from imageclef_vqa.data.labels import read_labels
from imageclef_vqa.editions import Edition, Prediction, read_predictions
from imageclef_vqa.errors import DataError, MedvqaError, UsageError, shortened
from imageclef_vqa.submission import read_run
from imageclef_vqa.workspace import Workspace

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


def read_answers(workspace: Workspace, source: str) -> Answers:
    """The answers in a file of predictions or a run file, or the newest answers of the run of that name.

    Raises:
        UsageError: there is neither such a file nor such a run.
    """
    path = Path(source)
    if path.suffix == ".jsonl":
        return answers_of(read_predictions(path))
    if path.is_file():
        return read_run(path)
    if (workspace.work / source).is_dir():
        run = Workspace.at(workspace.root, source)
        files = [fold for fold in FOLDS if run.predictions(fold).exists() or run.routed(fold).exists()]
        if files:
            return answers_of(each for fold in files for each in read_predictions(run.newest_predictions(fold)))
    raise UsageError(
        f"{source}: neither a file nor a run with predictions in {workspace.shown(workspace.work)}",
        remedy="name predictions (.jsonl), a run file (.csv, .json, .zip), or a run (a folder of work/)",
    )


def read_scores(workspace: Workspace, predictions: Path) -> Any:
    """The content of scores.json; None if nothing was scored since `predictions` were made."""
    try:
        if workspace.scores.stat().st_mtime < predictions.stat().st_mtime:
            return None
        return json.loads(workspace.scores.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise MedvqaError(f"{workspace.scores} is damaged", remedy="`medvqa score` writes it again") from error
