"""`medvqa baseline`: the commonest answers and the classical expert, scored as a run of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from imageclef_vqa import routing
from imageclef_vqa.editions import QUESTIONS, read_predictions
from imageclef_vqa.evaluation import Score, score_answers
from imageclef_vqa.pipeline.answers import answers_of, read_gold
from imageclef_vqa.pipeline.development import read_development
from imageclef_vqa.workspace import Workspace


def baseline(
    workspace: str | Path = ".", *, fold: int = 0, notify: Callable[[str], None] = lambda message: None
) -> dict[str, Score]:
    """Fit the classical expert as the run `baseline` and score it: name of the fold → score.

    Raises:
        MissingStepError: there is no split.
        DataError: the data cannot be used.
    """
    at = Workspace.at(workspace, routing.BASELINE)
    vocabulary = routing.baseline(at, fold=fold, notify=notify)
    development = read_development(at)
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
