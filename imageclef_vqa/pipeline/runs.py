"""`medvqa runs`: what was trained in a workspace, how far, and how well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imageclef_vqa.errors import MedvqaError, MissingStepError
from imageclef_vqa.pipeline.answers import read_scores
from imageclef_vqa.training.history import StageHistory, read_history
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class RunSummary:
    """The stages of a run, its share of exact sets on val and test where it was scored, and what cannot be read."""

    run: str
    stages: tuple[StageHistory, ...]
    scores: dict[str, float]
    faults: tuple[str, ...]


def list_runs(workspace: str | Path = ".") -> list[RunSummary]:
    """All runs of a workspace, in the order of their names."""
    root = Path(workspace)
    return [_summary(Workspace.at(root, name)) for name in Workspace.at(root).runs()]


def _summary(workspace: Workspace) -> RunSummary:
    stages, scores, faults = [], {}, []
    for number in (1, 2):
        try:
            if (history := read_history(workspace.stage(number))) is not None:
                stages.append(history)
        except MedvqaError as error:
            faults.append(str(error))
    try:
        for fold in ("val", "test"):
            if (score := _score(workspace, fold)) is not None:
                scores[fold] = score
    except (MedvqaError, KeyError, TypeError):
        faults.append(f"{workspace.shown(workspace.scores)} is damaged: `medvqa score` writes it again")
    return RunSummary(workspace.run, tuple(stages), scores, tuple(faults))


def _score(workspace: Workspace, fold: str) -> float | None:
    """The share of exact sets in scores.json; None if the newest predictions of `fold` were not scored."""
    try:
        scores = read_scores(workspace, workspace.newest_predictions(fold))
    except MissingStepError:
        return None
    if scores is None or fold not in scores["folds"]:
        return None
    return float(scores["folds"][fold]["global"]["exact_set"])
