"""The folder of a stage: everything to predict with it, or to resume it where it stopped.

model.safetensors   the trained weights; of the frozen parts, vision if it was trained, never the language model
config.json         preset, stage, recipe, seed, and the hashes of data, split and starting weights
vocabulary.json     the allowed answers, from the labels of the training fold
log.jsonl           a line per step and per epoch
loss.png            the curves of the log
state.safetensors   only while unfinished: trainable weights, the optimiser's moments, the trainer's state
best.safetensors    only while unfinished: trainable weights after the epoch with the best validation score
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from pydantic import BaseModel, ConfigDict, ValidationError

from imageclef_vqa.artefacts import RECORD, record_folder
from imageclef_vqa.checkpoints.layers import read_metadata, read_weights, save_weights
from imageclef_vqa.editions import Vocabulary
from imageclef_vqa.errors import MedvqaError, MissingStepError
from imageclef_vqa.files import write_text
from imageclef_vqa.training.config import BEST, CONFIG, CURVES, LOG, MODEL, STATE, VOCABULARY, StageConfig
from imageclef_vqa.training.curves import draw_curves
from imageclef_vqa.training.log import Log

_STATE_KEY = "trainer_state"  # in the metadata of state.safetensors


class TrainerState(BaseModel):
    """Counters of a run between two steps."""

    model_config = ConfigDict(extra="forbid")

    epoch: int = 0  # completed epochs
    step: int = 0  # completed steps of the current epoch
    total: int = 0  # completed steps of all epochs
    sums: dict[str, float] = {}  # of each loss, over the steps of this epoch that were not skipped
    counted: int = 0  # the number of those steps
    not_finite: int = 0  # steps in a row that were skipped
    best: float | None = None  # best validation score
    best_epoch: int = 0  # the epoch that ended with it
    ended: bool = False  # stopped before the last epoch
    scale: float = 1.0  # loss scale in fp16
    steps_at_scale: int = 0
    seconds: float = 0.0


class Stage:
    """The folder of one stage of one run; `shown` is its path as the user types it."""

    def __init__(self, folder: Path, shown: str) -> None:
        self.folder = folder
        self.shown = shown
        self.log = Log(folder / LOG, folder.parent / "visualdl" / folder.name)

    @property
    def finished(self) -> bool:
        return (self.folder / MODEL).exists()

    @property
    def unfinished(self) -> bool:
        return (self.folder / STATE).exists()

    def config(self) -> StageConfig:
        return self._read(CONFIG, StageConfig)

    def vocabulary(self) -> Vocabulary:
        return self._read(VOCABULARY, Vocabulary)

    def trained(self, number: int) -> dict[str, np.ndarray]:
        """The trained tensors by name.

        Raises:
            MissingStepError: stage `number` is missing or unfinished.
        """
        if not self.finished:
            raise MissingStepError(f"no finished stage {number} in {self.shown}", f"medvqa finetune --stage {number}")
        return read_weights(self.folder / MODEL)

    def can_resume(self, config: StageConfig, *, fresh: bool) -> bool:
        """Whether there is an unfinished stage with the same config.

        Raises:
            MedvqaError: there is one with another config; the message lists the differences.
        """
        if fresh or not self.unfinished:
            return False
        if differences := self.config().differences(config):
            raise MedvqaError(
                "\n".join([f"the unfinished run in {self.shown} was started from something else:", *differences]),
                remedy="give the same options and data to resume it, or --fresh to start over",
            )
        return True

    def start(self, config: StageConfig, vocabulary: Vocabulary) -> None:
        """Remove what an earlier run left and write config and vocabulary."""
        for name in (STATE, BEST, RECORD, MODEL, CURVES):
            (self.folder / name).unlink(missing_ok=True)
        self.clear_leftovers()
        self.log.start()
        write_text(self.folder / CONFIG, config.model_dump_json(indent=2) + "\n")
        write_text(self.folder / VOCABULARY, vocabulary.model_dump_json() + "\n")

    def resume(self) -> TrainerState:
        """Cut the log back to the saved state, and return that state."""
        self.clear_leftovers()
        _, state = self.load_state()
        self.log.resume(state.total, state.epoch)
        return state

    def draw(self) -> None:
        """Draw the curves of the log.

        Raises:
            MedvqaError: the image cannot be written.
        """
        draw_curves(self.log.records(), self.folder / CURVES, self.shown)

    def last_epoch(self) -> dict[str, Any]:
        """The newest line of the log that ends an epoch; empty before the first one."""
        return next((each for each in reversed(self.log.records()) if "epoch" in each), {})

    def save_state(self, tensors: Mapping[str, np.ndarray], state: TrainerState) -> None:
        """Save everything that the next step depends on; its random numbers follow from seed, epoch and step.

        Raises:
            MedvqaError: it cannot be written; the state saved before is intact.
        """
        save_weights(self.folder / STATE, tensors, {_STATE_KEY: state.model_dump_json()})

    def load_state(self) -> tuple[dict[str, np.ndarray], TrainerState]:
        """The tensors and the trainer's state that `save_state` wrote.

        Raises:
            MedvqaError: they cannot be read, or another version of this program wrote them.
        """
        path = self.folder / STATE
        try:
            tensors = read_weights(path)
            return tensors, TrainerState.model_validate_json(read_metadata(path).get(_STATE_KEY, ""))
        except ValidationError as error:
            raise MedvqaError(
                f"{path} was written by another version of this program", remedy="--fresh starts over"
            ) from error
        except MedvqaError as error:
            raise MedvqaError(error.what, remedy="--fresh starts over") from error

    def save_best(self, parameters: Mapping[str, paddle.Tensor]) -> None:
        save_weights(self.folder / BEST, parameters)

    def load_best(self, parameters: Mapping[str, paddle.Tensor]) -> None:
        """Set `parameters` to the weights of the best epoch."""
        best = read_weights(self.folder / BEST)
        for name, parameter in parameters.items():
            parameter.set_value(best[name])

    def finish(self, tensors: Mapping[str, paddle.Tensor]) -> None:
        """Write the trained tensors and the record, and remove the state."""
        save_weights(self.folder / MODEL, tensors, {"format": "medvqa"})
        command = f"finetune --stage {self.folder.name[-1]}"
        record_folder(self.folder, (MODEL, CONFIG, VOCABULARY), command=command, inputs={})
        self.clear_leftovers()

    def clear_leftovers(self) -> None:
        """Remove the state of a finished stage, and partial files of a killed process."""
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
                f"{path} is damaged: {error}", remedy="`medvqa finetune --fresh` trains the stage again"
            ) from error
