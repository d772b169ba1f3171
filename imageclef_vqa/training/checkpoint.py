"""What a stage leaves: everything to predict, or to go on where it stopped.

model.safetensors   what was trained (and what it was trained on top of, but for the frozen language model)
config.json         preset, stage, recipe, seed, and the hashes of data, split and frozen weights
vocabulary.json     what may be answered, from the training fold's labels
log.jsonl           a line per step and per epoch
loss.png            the same to look at
state.safetensors   while the stage is unfinished: what learns, the optimiser's moments, and the position, some step
best.safetensors    while the stage is unfinished: what learns, after the epoch that validated best so far
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from pydantic import BaseModel, ConfigDict, ValidationError

from imageclef_vqa.checkpoints.layers import read_metadata, read_weights, save_weights
from imageclef_vqa.editions import Vocabulary
from imageclef_vqa.errors import MedvqaError, MissingStepError
from imageclef_vqa.files import write_text
from imageclef_vqa.training.config import BEST, CONFIG, CURVES, LOG, MODEL, STATE, VOCABULARY, StageConfig
from imageclef_vqa.training.curves import draw_curves
from imageclef_vqa.training.log import Log


def fingerprint(*parts: str) -> str:
    """A short hash of texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class TrainerState(BaseModel):
    """Where a run is, between two steps."""

    model_config = ConfigDict(extra="forbid")

    epoch: int = 0  # whole epochs done
    step: int = 0  # steps done of the epoch under way,
    total: int = 0  # and of all
    sums: dict[str, float] = {}  # of each loss over the steps of this epoch that counted,
    counted: int = 0  # and how many these are
    not_finite: int = 0  # steps in a row, up to here
    best: float | None = None  # validation score, and the epoch that ended with it
    best_epoch: int = 0
    ended: bool = False  # before all epochs were done
    scale: float = 1.0  # of the loss in fp16, and for how many steps
    steps_at_scale: int = 0
    seconds: float = 0.0


class Stage:
    """The folder of one stage of one run."""

    def __init__(self, folder: Path, shown: str) -> None:
        self.folder = folder
        self.shown = shown
        self.log = Log(folder / LOG, folder.parent / "visualdl" / folder.name)

    @property
    def finished(self) -> bool:
        return (self.folder / MODEL).exists()

    @property
    def begun(self) -> bool:
        return (self.folder / STATE).exists()

    def config(self) -> StageConfig:
        return self._read(CONFIG, StageConfig)

    def vocabulary(self) -> Vocabulary:
        return self._read(VOCABULARY, Vocabulary)

    def trained(self, number: int) -> dict[str, np.ndarray]:
        """The trained tensors.

        Raises:
            MissingStepError: the stage is not there, or not finished.
        """
        if not self.finished:
            raise MissingStepError(f"no finished stage {number} in {self.shown}", f"medvqa finetune --stage {number}")
        return read_weights(self.folder / MODEL)

    def goes_on(self, config: StageConfig, *, fresh: bool) -> bool:
        """Whether there is an unfinished run of the same making to go on with.

        Raises:
            MedvqaError: there is one, made from something else; the message says what differs.
        """
        if fresh or not self.begun:
            return False
        if differences := self.config().differences(config):
            raise MedvqaError(
                "\n".join([f"the unfinished run in {self.shown} was made from something else:", *differences]),
                remedy="give the same options and data to go on, or --fresh to start over",
            )
        return True

    def begin(self, config: StageConfig, vocabulary: Vocabulary) -> None:
        """Clear what an earlier run left and write what the stage is made from."""
        for name in (STATE, BEST, MODEL, CURVES):
            (self.folder / name).unlink(missing_ok=True)
        self.clear_leftovers()
        self.log.begin()
        write_text(self.folder / CONFIG, config.model_dump_json(indent=2) + "\n")
        write_text(self.folder / VOCABULARY, vocabulary.model_dump_json() + "\n")

    def go_on(self) -> str:
        """Make ready for going on after the saved state; says from where."""
        self.clear_leftovers()
        _, at = self.load_state()
        self.log.go_on(at.total, at.epoch)
        return f"going on with the unfinished run in {self.shown}, after step {at.total} (epoch {at.epoch + 1})"

    def draw(self) -> None:
        """Draw what the log says.

        Raises:
            MedvqaError: the picture cannot be written.
        """
        draw_curves(self.log.records(), self.folder / CURVES, self.shown)

    def last_epoch(self) -> dict[str, Any]:
        """The newest line of the log that ends an epoch; empty before the first."""
        return next((each for each in reversed(self.log.records()) if "epoch" in each), {})

    def save_state(self, tensors: Mapping[str, np.ndarray], at: TrainerState) -> None:
        """Keep all that the next step depends on; what is random in it follows from seed, epoch and step.

        Raises:
            MedvqaError: it cannot be written; the state before it is whole.
        """
        save_weights(self.folder / STATE, tensors, {"position": at.model_dump_json()})

    def load_state(self) -> tuple[dict[str, np.ndarray], TrainerState]:
        """What `save_state` kept.

        Raises:
            MedvqaError: it cannot be read.
        """
        path = self.folder / STATE
        try:
            return read_weights(path), self.position()
        except MedvqaError as error:
            raise MedvqaError(error.what, remedy="--fresh starts over") from error

    def position(self) -> TrainerState:
        """Where the unfinished run stopped.

        Raises:
            MedvqaError: the state cannot be read.
        """
        try:
            return TrainerState.model_validate_json(read_metadata(self.folder / STATE).get("position", ""))
        except ValidationError as error:
            raise MedvqaError(
                f"{self.folder / STATE} was written by another version of this program", remedy="--fresh starts over"
            ) from error

    def save_best(self, parameters: Mapping[str, paddle.Tensor]) -> None:
        save_weights(self.folder / BEST, parameters)

    def load_best(self, parameters: Mapping[str, paddle.Tensor]) -> None:
        """Give what learns the weights that validated best."""
        best = read_weights(self.folder / BEST)
        for name, parameter in parameters.items():
            parameter.set_value(best[name])

    def finish(self, tensors: Mapping[str, paddle.Tensor]) -> None:
        """Write the trained tensors, and clear what was needed only to go on."""
        save_weights(self.folder / MODEL, tensors, {"format": "medvqa"})
        self.clear_leftovers()

    def clear_leftovers(self) -> None:
        """Remove the state of a finished stage, and files that were being written when a process was killed."""
        for path in (self.folder / STATE, self.folder / BEST) if self.finished else ():
            path.unlink(missing_ok=True)
        for part in self.folder.glob(".*.part"):
            part.unlink(missing_ok=True)

    def _read(self, name: str, kind: Any) -> Any:
        path = self.folder / name
        try:
            return kind.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise MissingStepError(f"no {name} in {self.shown}", f"medvqa finetune --stage {self.shown[-1]}") from error
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            raise MedvqaError(
                f"{path} is damaged: {error}", remedy="`medvqa finetune --fresh` trains the stage anew"
            ) from error
