"""`medvqa runs`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from imageclef_vqa.cli.console import echo, print_json, print_table
from imageclef_vqa.cli.options import JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from rich.table import Table

    from imageclef_vqa.pipeline.runs import RunSummary
    from imageclef_vqa.training.history import StageHistory


def runs(
    workspace: WorkspaceOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """List the runs of the workspace: what was trained, how far, how well, and when."""
    from imageclef_vqa.pipeline.runs import list_runs
    from imageclef_vqa.workspace import Workspace

    found = list_runs(workspace)
    if as_json:
        print_json({"runs": [_as_json(run) for run in found]})
    elif not found:
        echo(f"no runs yet; `{Workspace.at(workspace).typed('medvqa finetune --stage 1')}` starts one")
    else:
        print_table(_table(found))
        for fault in (fault for run in found for fault in run.faults):
            echo(fault, fg="yellow", err=True)


def _as_json(run: RunSummary) -> dict[str, Any]:
    from dataclasses import asdict
    from datetime import datetime, timezone

    content = asdict(run)
    for stage in content["stages"]:
        stage["changed"] = datetime.fromtimestamp(stage["changed"], timezone.utc).isoformat(timespec="seconds")
    return content


def _table(found: list[RunSummary]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("run", overflow="fold", min_width=4)
    for title in ("stage", "preset", "epochs", "chosen on val", "last epoch", "changed"):
        table.add_column(title, no_wrap=True)
    for title in ("val", "test"):
        table.add_column(title, justify="right", no_wrap=True)
    for run in found:
        scores = [f"{run.scores[fold]:.3f}" if fold in run.scores else "" for fold in ("val", "test")]
        stages = [_cells(stage) for stage in run.stages] or [[""] * 6]
        for number, cells in enumerate(stages):
            table.add_row("" if number else run.run, *cells, *(scores if number == len(stages) - 1 else ["", ""]))
    return table


def _cells(stage: StageHistory) -> list[str]:
    """Stage, preset, epochs, the best epoch on validation images and the last one, last change."""
    from datetime import datetime

    kind = "loss" if stage.stage == 1 else "exact"
    chance = f" (chance {stage.chance:.3f})" if stage.chance is not None else ""
    return [
        str(stage.stage),
        stage.preset,
        str(stage.epoch) if stage.finished else f"{stage.epoch} of {stage.epochs}",
        f"{stage.best_epoch}: {kind} {stage.best:.3f}{chance}" if stage.best is not None else "",
        f"{stage.last:.3f}" if stage.last is not None else "",
        datetime.fromtimestamp(stage.changed).strftime("%d %b %H:%M"),
    ]
