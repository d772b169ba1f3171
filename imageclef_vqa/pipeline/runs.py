"""`medvqa runs`: what the runs of a workspace were trained from, how far, and how well they answer."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from imageclef_vqa.errors import MedvqaError, MissingStepError
from imageclef_vqa.pipeline.answers import FOLDS, read_scores
from imageclef_vqa.workspace import Workspace


def list_runs(workspace: str | Path = ".") -> list[dict[str, Any]]:
    """Each run with its stages, its exact-set scores by fold, and `faults`: what of it cannot be read."""
    return [_describe(Workspace.at(workspace, name)) for name in Workspace.at(workspace).runs()]


def _describe(workspace: Workspace) -> dict[str, Any]:
    run: dict[str, Any] = {"run": workspace.run, "stages": [], "scores": {}, "faults": []}
    _add_stages(run, workspace)
    for fold in FOLDS:
        try:
            scores = read_scores(workspace, workspace.newest_predictions(fold))
            if scores is not None and fold in scores["folds"]:
                run["scores"][fold] = scores["folds"][fold]["global"]["exact_set"]
        except MissingStepError:
            continue
        except (MedvqaError, KeyError, TypeError):
            run["faults"].append(f"{workspace.shown(workspace.scores)} is damaged: `medvqa score` writes it again")
            break
    return run


def _add_stages(run: dict[str, Any], workspace: Workspace) -> None:
    from imageclef_vqa.training.history import read_history

    for number in (1, 2):
        try:
            if (history := read_history(workspace.stage(number))) is not None:
                changed = datetime.fromtimestamp(history.changed, timezone.utc).isoformat(timespec="seconds")
                run["stages"].append(asdict(history) | {"changed": changed})
        except MedvqaError as error:
            run["faults"].append(str(error))
