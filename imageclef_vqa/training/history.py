"""The training history of a run, read from the files of its stages; free of Paddle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imageclef_vqa.errors import MissingFileError
from imageclef_vqa.inputs import read_model
from imageclef_vqa.training.config import CONFIG, LOG, MODEL, StageConfig
from imageclef_vqa.training.log import Log
from imageclef_vqa.training.replacement import stage_state


@dataclass(frozen=True)
class StageHistory:
    """One stage of a run, finished or not, with `epoch` of `epochs` completed.

    `best` is the best epoch's validation score: in stage 1 the sum of the losses (lower is better), in stage 2 the
    share of exact sets, averaged over questions; None without validation. It was chosen by the validation images, so
    `last` has the same of the last epoch. `chance` is the sum of stage 1's losses without any knowledge. `seconds` is
    the training time, `changed` the time of the last change in seconds since 1970.
    """

    stage: int
    preset: str
    finished: bool
    epoch: int
    epochs: int
    steps: int
    skipped: int
    best: float | None
    best_epoch: int | None
    last: float | None
    chance: float | None
    seconds: float
    changed: float


def read_history(folder: Path) -> StageHistory | None:
    """The history of the stage in `folder`; None if there is no stage.

    Raises:
        MedvqaError: its `config.json` is damaged.
    """
    try:
        config = read_model(folder / CONFIG, StageConfig)
    except MissingFileError:
        return None
    records = Log(folder / LOG).records()
    epochs = [each for each in records if "epoch" in each]
    last = epochs[-1] if epochs else {}
    # `best` marks each epoch that was the best so far.
    best: dict[str, Any] = next((each for each in reversed(epochs) if each.get("best")), {})
    sign = -1 if config.stage == 1 else 1
    newest = [path for path in (folder / MODEL, folder / LOG, folder / CONFIG) if path.exists()]
    return StageHistory(
        stage=config.stage,
        preset=config.preset,
        finished=stage_state(folder) in ("finished", "unrecorded"),
        epoch=last.get("epoch", 0),
        epochs=config.recipe.epochs,
        steps=records[-1].get("step", 0) if records else 0,
        skipped=sum("skipped" in each for each in records),
        best=None if best.get("score") is None else sign * best["score"],
        best_epoch=best.get("epoch"),
        last=None if last.get("score") is None else sign * last["score"],
        chance=sum(chance) if (chance := [last[name] for name in last if name.startswith("chance_")]) else None,
        seconds=last.get("seconds", 0.0),
        changed=newest[0].stat().st_mtime,
    )
