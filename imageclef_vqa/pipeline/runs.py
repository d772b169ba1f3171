"""`medvqa runs`: what was trained in a workspace, how far, and how well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inputs import read_json
from imageclef_vqa.pipeline.lineage import Lineage
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
    stages: list[StageHistory] = []
    lineage = Lineage(workspace)
    faults = []
    for number in (1, 2):
        try:
            if (history := read_history(workspace.stage(number))) is not None:
                stages.append(history)
        except MedvqaError as error:
            faults.append(f"{error.what}: `{lineage.command(f'stage{number}')}` trains the stage again")
    states = [lineage.artefact(name) for name in lineage.names() if name.startswith("stage") or name == "scores"]
    faults += [
        f"{workspace.shown(each.path)} is {each.state}: `{lineage.remedy(each.name)}`"
        for each in states
        if each.status not in ("fresh", "unfinished")
    ]
    fresh = any(each.name == "scores" and each.status == "fresh" for each in states)
    return RunSummary(workspace.run, tuple(stages), _read_scores(workspace) if fresh else {}, tuple(faults))


def _read_scores(workspace: Workspace) -> dict[str, float]:
    """The mean share of exact sets in scores.json, by fold."""
    folds = read_json(workspace.scores)["folds"]
    return {name: float(fold["global"]["exact_set"]) for name, fold in folds.items()}
