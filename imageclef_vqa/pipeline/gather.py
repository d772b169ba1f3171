"""What `score` and `package` both start from: gold answers, the split and the vocabulary of a workspace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from imageclef_vqa.data.labels import read_labels
from imageclef_vqa.editions import Prediction, Vocabulary, learn_vocabulary, read_predictions
from imageclef_vqa.errors import DataError, MedvqaError, shortened
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.data import Dataset, Split

Answers = Mapping[tuple[str, int], tuple[str, ...]]


@dataclass(frozen=True)
class Development:
    """The development set, its split, and the fold of it that the run validates on."""

    dataset: Dataset
    split: Split
    fold: int

    def validation_gold(self) -> dict[tuple[str, int], tuple[str, ...]]:
        """Gold answers of the validation fold."""
        return self.dataset.subset(self.split.val(self.fold)).gold()


def read_development(workspace: Workspace) -> Development:
    """The development set of `workspace`, as it was split."""
    from imageclef_vqa.data import read_dataset, read_split

    dataset = read_dataset(workspace.development, cache=workspace.cache)
    split = read_split(workspace.split_file, dataset)
    predictions = workspace.predictions("val")
    fold = split.fold_of({each.image_id for each in read_predictions(predictions)}) if predictions.exists() else 0
    return Development(dataset, split, fold)


def training_vocabulary(workspace: Workspace, development: Development) -> Vocabulary:
    """What the model of this run may answer; without a model, what the training fold's labels hold."""
    saved = saved_vocabulary(workspace)
    return saved or learn_vocabulary(development.dataset.subset(development.split.train(development.fold)).labels())


def saved_vocabulary(workspace: Workspace) -> Vocabulary | None:
    """What the model of this run may answer; None without a model.

    Raises:
        MedvqaError: the file is damaged.
    """
    saved = workspace.stage(2) / "vocabulary.json"
    try:
        return Vocabulary.model_validate_json(saved.read_bytes()) if saved.exists() else None
    except (OSError, ValidationError) as error:
        raise MedvqaError(f"{saved} is damaged", remedy="`medvqa finetune --stage 2` makes it anew") from error


def read_gold(path: Path) -> tuple[dict[tuple[str, int], tuple[str, ...]], dict[str, int]]:
    """Gold answers in a `gt.json`, its images unread, and the place of each image's record there, from 1.

    Raises:
        DataError: everything in it that is no label.
    """
    labels = read_labels(path)
    if labels.problems:
        raise DataError(shortened(labels.problems))
    gold = {(image_id, q): answers for image_id, all_ in labels.answers.items() for q, answers in all_.items()}
    return gold, labels.records


def read_scores(workspace: Workspace, predictions: Path) -> Any:
    """The content of scores.json; None if nothing was scored since `predictions` were made."""
    try:
        if workspace.scores.stat().st_mtime < predictions.stat().st_mtime:
            return None
        return json.loads(workspace.scores.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise MedvqaError(f"{workspace.scores} is damaged", remedy="`medvqa score` makes it anew") from error


def answers_of(predictions: list[Prediction]) -> dict[tuple[str, int], tuple[str, ...]]:
    """(image id, question id) → answers."""
    return {(each.image_id, each.question_id): each.answers for each in predictions}
