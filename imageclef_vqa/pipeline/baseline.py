"""`medvqa baseline`: the commonest answers and the classical expert, as a run of their own beside others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from imageclef_vqa.artefacts import check_artefact, write_artefact
from imageclef_vqa.editions import (
    QUESTIONS,
    Prediction,
    Vocabulary,
    learn_vocabulary,
    predictions_text,
    read_predictions,
)
from imageclef_vqa.evaluation import Score, score_answers
from imageclef_vqa.experts.answers import CLASSICAL
from imageclef_vqa.experts.classical import answer_images
from imageclef_vqa.inputs import sha256
from imageclef_vqa.pipeline.answers import answers_of, read_gold
from imageclef_vqa.pipeline.development import Development, read_development
from imageclef_vqa.pipeline.edition import refuse_open
from imageclef_vqa.workspace import Workspace

BASELINE = "baseline"  # name of the run


def baseline(
    workspace: str | Path = ".", *, fold: int = 0, notify: Callable[[str], None] = lambda message: None
) -> dict[str, Score]:
    """Fit the classical expert as the run `baseline` and score it: name of the fold → score.

    Questions without training answers get their first known answer and are marked as untrained.

    Raises:
        MissingStepError: there is no split.
        UsageError: the split has no such fold.
        DataError: the data cannot be used.
    """
    at = Workspace.at(workspace, BASELINE)
    refuse_open(at, "baseline", "`medvqa score` shows the commonest training answers beside each run")
    answer_images(at, fold=fold, notify=notify)
    development = read_development(at, fold)
    vocabulary = learn_vocabulary(development.training.labels())
    _write_predictions(at, development, vocabulary)
    golds = {"val": development.validation.gold()}
    if at.has_test and (labels := at.test / "gt.json").exists():
        golds["test"] = read_gold(labels)[0]
    return {
        name: score_answers(
            answers_of(read_predictions(at.predictions(name))),
            gold,
            majority=[vocabulary[question.id].majority for question in QUESTIONS],
            groups=development.split.groups if name == "val" else None,
        )
        for name, gold in golds.items()
    }


def _write_predictions(workspace: Workspace, development: Development, vocabulary: Vocabulary) -> None:
    """Write what the classical expert answers, and the commonest answer to the questions that it leaves out."""
    inputs = {"development": development.dataset.fingerprint, "split": sha256(workspace.split_file)}
    remedy = f"`{workspace.typed('medvqa baseline', run=False)}` makes it again"
    for path in sorted(workspace.expert(CLASSICAL).glob("*.jsonl")):
        record = check_artefact(path, workspace.shown(path), remedy)
        answered = {(each.image_id, each.question_id): each for each in read_predictions(path)}
        predictions = [
            answered.get((image_id, question.id)) or _majority(image_id, question.id, vocabulary)
            for image_id in dict.fromkeys(image_id for image_id, _ in answered)
            for question in QUESTIONS
        ]
        write_artefact(
            workspace.predictions(path.stem),
            predictions_text(predictions).encode(),
            command="baseline",
            inputs=inputs | {f"experts/{CLASSICAL}/{path.stem}": record.digest},
        )


def _majority(image_id: str, question_id: int, vocabulary: Vocabulary) -> Prediction:
    return Prediction(
        image_id=image_id,
        question_id=question_id,
        answers=vocabulary[question_id].majority,
        probability=0.0,
        model="majority",
        trained=False,
    )
