"""`medvqa baseline`: the linear expert as a run of its own, the floor that every other run is compared with."""

from __future__ import annotations

from collections.abc import Callable

from imageclef_vqa.data import read_dataset, read_split
from imageclef_vqa.editions import (
    QUESTIONS,
    Prediction,
    Vocabulary,
    learn_vocabulary,
    read_predictions,
    write_predictions,
)
from imageclef_vqa.experts.table import LINEAR, answer_linear
from imageclef_vqa.workspace import Workspace

RUN = "baseline"


def baseline(
    workspace: Workspace, *, fold: int = 0, notify: Callable[[str], None] = lambda message: None
) -> Vocabulary:
    """Answer validation and test images as the run `place` without BLIP-2; returns the training fold's vocabulary.

    Questions that training never answers get the first answer that is known of them, marked untrained.

    Raises:
        MissingStepError: there is no split.
        MedvqaError: the data cannot be used.
    """
    answer_linear(workspace, fold=fold, notify=notify)
    dataset = read_dataset(workspace.development, cache=workspace.cache)
    vocabulary = learn_vocabulary(dataset.subset(read_split(workspace.split_file, dataset).train(fold)).labels())
    guesses = {question: vocabulary[question].majority for question in vocabulary.untrained}
    for path in sorted(workspace.expert(LINEAR).glob("*.jsonl")):
        answered = {(each.image_id, each.question_id): each for each in read_predictions(path)}
        images = dict.fromkeys(image_id for image_id, _ in answered)
        write_predictions(
            workspace.predictions(path.stem),
            [
                answered.get((image_id, question.id)) or _guess(image_id, question.id, guesses[question.id])
                for image_id in images
                for question in QUESTIONS
            ],
        )
    return vocabulary


def _guess(image_id: str, question_id: int, answers: tuple[str, ...]) -> Prediction:
    return Prediction(
        image_id=image_id,
        question_id=question_id,
        answers=answers,
        probability=0.0,
        model="majority",
        trained=False,
    )
