"""`medvqa runs`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from imageclef_vqa.cli.options import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from imageclef_vqa.workspace import Workspace


def runs(
    workspace: WorkspaceOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List the runs of the workspace: what was trained, how far, how well, and when."""
    from imageclef_vqa.cli.console import print_json, print_table
    from imageclef_vqa.workspace import Workspace

    found = [_read(Workspace.at(workspace, name)) for name in Workspace.at(workspace).runs()]
    if as_json:
        print_json({"runs": found})
    elif not found:
        typer.echo("no runs yet; `medvqa finetune --stage 1` begins one")
    else:
        print_table(_table(found))
        for fault in (fault for each in found for fault in each["faults"]):
            typer.secho(fault, fg="yellow", err=True)


def _read(workspace: Workspace) -> dict[str, Any]:
    """A run with its stages, scores by fold, and what of it cannot be read."""
    from dataclasses import asdict
    from datetime import datetime, timezone

    from imageclef_vqa.errors import MedvqaError, MissingStepError
    from imageclef_vqa.pipeline.gather import read_scores
    from imageclef_vqa.training.history import read_history

    run: dict[str, Any] = {"run": workspace.run, "stages": [], "scores": {}, "faults": []}
    for number in (1, 2):
        try:
            if (history := read_history(workspace.stage(number))) is not None:
                changed = datetime.fromtimestamp(history.changed, timezone.utc).isoformat(timespec="seconds")
                run["stages"].append(asdict(history) | {"changed": changed})
        except MedvqaError as error:
            run["faults"].append(str(error))
    for fold in ("val", "test"):
        try:
            scores = read_scores(workspace, workspace.newest_predictions(fold))
            if scores is not None and fold in scores["folds"]:
                run["scores"][fold] = scores["folds"][fold]["global"]["exact_set"]
        except MissingStepError:
            continue
        except (MedvqaError, KeyError, TypeError):
            run["faults"] = [
                *run["faults"],
                f"{workspace.shown(workspace.scores)} is damaged: `medvqa score` makes it anew",
            ]
            break
    return run


def _table(found: list[dict[str, Any]]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("run", overflow="fold", min_width=4)
    for title in ("stage", "preset", "epochs", "best epoch", "changed"):
        table.add_column(title, no_wrap=True)
    for title in ("val", "test"):
        table.add_column(title, justify="right", no_wrap=True)
    for run in found:
        scores = [f"{run['scores'][fold]:.3f}" if fold in run["scores"] else "" for fold in ("val", "test")]
        stages = [_cells(stage) for stage in run["stages"]] or [[""] * 5]
        for number, cells in enumerate(stages):
            table.add_row("" if number else run["run"], *cells, *(scores if number == len(stages) - 1 else ["", ""]))
    return table


def _cells(stage: dict[str, Any]) -> list[str]:
    """Stage, preset, epochs, best epoch, last change."""
    from datetime import datetime

    kind = "loss" if stage["stage"] == 1 else "exact"
    return [
        str(stage["stage"]),
        stage["preset"],
        str(stage["epoch"]) if stage["finished"] else f"{stage['epoch']} of {stage['epochs']}",
        f"{stage['best_epoch']}: {kind} {stage['best']:.3f}" if stage["best"] is not None else "",
        datetime.fromisoformat(stage["changed"]).astimezone().strftime("%d %b %H:%M"),
    ]
