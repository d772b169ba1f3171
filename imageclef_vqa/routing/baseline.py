"""`medvqa baseline`: the classical expert as a run of its own, with which other runs are compared."""

from __future__ import annotations

from collections.abc import Callable

from imageclef_vqa.artefacts import check_artefact, write_artefact
from imageclef_vqa.data import read_dataset, read_split
from imageclef_vqa.editions import (
    QUESTIONS,
    Prediction,
    Vocabulary,
    learn_vocabulary,
    predictions_text,
    read_predictions,
)
from imageclef_vqa.experts.answers import CLASSICAL
from imageclef_vqa.experts.classical import answer_images
from imageclef_vqa.files import sha256
from imageclef_vqa.workspace import Workspace

RUN = "baseline"


def baseline(
    workspace: Workspace, *, fold: int = 0, notify: Callable[[str], None] = lambda message: None
) -> Vocabulary:
    """Write the classical expert's predictions as a run of `workspace`; returns the training fold's vocabulary.

    Questions without training answers get their first known answer and are marked as untrained.

    Raises:
        MissingStepError: there is no split.
        UsageError: the split has no such fold.
        MedvqaError: the data cannot be used.
    """
    answer_images(workspace, fold=fold, notify=notify)
    dataset = read_dataset(workspace.development, cache=workspace.cache)
    vocabulary = learn_vocabulary(dataset.subset(read_split(workspace.split_file, dataset).train(fold)).labels())
    inputs = {"development": dataset.fingerprint, "split": sha256(workspace.split_file)}
    for path in sorted(workspace.expert(CLASSICAL).glob("*.jsonl")):
        record = check_artefact(
            path, workspace.shown(path), f"`{workspace.typed('medvqa baseline', run=False)}` makes it again"
        )
        answered = {(each.image_id, each.question_id): each for each in read_predictions(path)}
        image_ids = dict.fromkeys(image_id for image_id, _ in answered)
        predictions = [
            answered.get((image_id, question.id)) or _majority(image_id, question.id, vocabulary)
            for image_id in image_ids
            for question in QUESTIONS
        ]
        write_artefact(
            workspace.predictions(path.stem),
            predictions_text(predictions).encode(),
            command="baseline",
            inputs=inputs | {f"experts/{CLASSICAL}/{path.stem}": record.digest},
        )
    return vocabulary


def _majority(image_id: str, question_id: int, vocabulary: Vocabulary) -> Prediction:
    return Prediction(
        image_id=image_id,
        question_id=question_id,
        answers=vocabulary[question_id].majority,
        probability=0.0,
        model="majority",
        trained=False,
    )
