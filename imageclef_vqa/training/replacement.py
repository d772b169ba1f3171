"""How a finished stage is trained again: in a folder beside it, which takes its place when it is finished.

`stage2` stays as it is while `stage2-fresh` is trained. Then `stage2` is renamed to `.stage2-replaced`, `stage2-fresh`
to `stage2`, and the old one is removed. If the process is killed in between, the next one goes on. Free of Paddle.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Literal

from imageclef_vqa.artefacts import record_path
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.training.config import MODEL, STATE

StageState = Literal["missing", "unfinished", "unrecorded", "finished"]


def stage_state(folder: Path) -> StageState:
    """How far the stage in `folder` is; "unrecorded": it was finished by a version that kept no records."""
    if record_path(folder).exists():
        return "finished"
    if not folder.exists():
        return "missing"
    return "unrecorded" if (folder / MODEL).exists() and not (folder / STATE).exists() else "unfinished"


def replacement_of(folder: Path) -> Path:
    """The folder in which the stage in `folder` is trained again."""
    return folder.with_name(f"{folder.name}-fresh")


def recover(folder: Path) -> None:
    """Give the folder of a stage its name if the process that replaced it was killed between the two renames.

    Any reader may call this at any time.
    """
    if not folder.exists() and record_path(replacement_of(folder)).exists():
        with contextlib.suppress(FileNotFoundError):  # another reader was faster
            replacement_of(folder).rename(folder)


def replace_finished(folder: Path) -> None:
    """Put the replacement of a stage in its place if the replacement is finished; only the run's writer may call this.

    Raises:
        MedvqaError: a folder cannot be renamed.
    """
    new, old = replacement_of(folder), folder.with_name(f".{folder.name}-replaced")
    recover(folder)
    shutil.rmtree(old, ignore_errors=True)
    if not record_path(new).exists():
        return
    try:
        folder.rename(old)
        recover(folder)
    except OSError as error:
        raise MedvqaError(
            f"{new} is finished but cannot be renamed to {folder.name}: {error.strerror}",
            remedy="the same command renames it once that is allowed",
        ) from error
    shutil.rmtree(old, ignore_errors=True)
