"""What a training run saves so that it can be resumed where it stopped, in a folder of its own.

state.safetensors   trainable weights, the optimiser's moments, the trainer's state
best.safetensors    trainable weights after the epoch with the best validation score
log.jsonl           a line per step and per epoch
loss.png            the curves of the log

Both safetensors files hold a hash of their content, and a file with another content is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from imageclef_vqa.checkpoints.layers import read_metadata, read_weights, save_weights
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.training.config import BEST, CURVES, LOG, MODEL, STATE
from imageclef_vqa.training.curves import draw_curves
from imageclef_vqa.training.log import Log

# Keys in the metadata of the safetensors files.
_STATE_KEY = "trainer_state"
_HASH_KEY = "sha256"
_REMEDY = "--fresh starts over"


class TrainerState(BaseModel):
    """Counters of a run between two steps."""

    model_config = ConfigDict(extra="forbid")

    epoch: NonNegativeInt = 0  # completed epochs
    step: NonNegativeInt = 0  # completed steps of the current epoch
    total: NonNegativeInt = 0  # completed steps of all epochs
    sums: dict[str, float] = {}  # of each loss, over the steps of this epoch that were not skipped
    counted: NonNegativeInt = 0  # the number of those steps
    not_finite: NonNegativeInt = 0  # steps in a row that were skipped
    best: float | None = None  # best validation score
    best_epoch: NonNegativeInt = 0  # the epoch that ended with it
    ended: bool = False  # stopped before the last epoch
    scale: float = Field(default=1.0, gt=0)  # loss scale in fp16
    steps_at_scale: NonNegativeInt = 0
    seconds: float = Field(default=0.0, ge=0)


class TrainingFolder:
    """The folder of a training run; `shown` is its path as the user types it."""

    def __init__(self, folder: Path, shown: str) -> None:
        self.folder = folder
        self.shown = shown
        self.log = Log(folder / LOG)

    @property
    def unfinished(self) -> bool:
        """Whether there is a state to resume from."""
        return (self.folder / STATE).exists()

    def draw(self) -> None:
        """Draw the curves of the log.

        Raises:
            MedvqaError: the image cannot be written.
        """
        draw_curves(self.log.records(), self.folder / CURVES, self.shown)

    def epochs(self) -> list[dict[str, Any]]:
        """The lines of the log that end an epoch."""
        return [each for each in self.log.records() if "epoch" in each]

    def save_state(self, tensors: Mapping[str, np.ndarray], state: TrainerState) -> None:
        """Save everything that the next step depends on; its random numbers follow from seed, epoch and step.

        Raises:
            MedvqaError: it cannot be written; the state saved before is intact.
        """
        _save(self.folder / STATE, tensors, state.model_dump_json())

    def load_state(self, epochs: int) -> tuple[dict[str, np.ndarray], TrainerState]:
        """The tensors and the trainer's state that `save_state` wrote in a run of `epochs` epochs.

        Raises:
            MedvqaError: they cannot be read, are not what was saved, or belong to no such run.
        """
        path = self.folder / STATE
        tensors, text = _load(path)
        try:
            state = TrainerState.model_validate_json(text)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
            raise MedvqaError(f"{path} is no state to resume from: {'; '.join(faults)}", remedy=_REMEDY) from error
        if max(state.epoch, state.best_epoch) > epochs:
            raise MedvqaError(
                f"{path} is no state to resume from: epoch {max(state.epoch, state.best_epoch)} of {epochs}",
                remedy=_REMEDY,
            )
        return tensors, state

    def save_best(self, parameters: Mapping[str, paddle.Tensor]) -> None:
        """Save the weights of the best epoch so far."""
        _save(self.folder / BEST, parameters, "")

    def load_best(self, parameters: Mapping[str, paddle.Tensor]) -> None:
        """Set `parameters` to the weights of the best epoch.

        Raises:
            MedvqaError: they cannot be read, or are not what was saved.
        """
        best, _ = _load(self.folder / BEST)
        for name, parameter in parameters.items():
            parameter.set_value(best[name])

    def save_model(self, tensors: Mapping[str, paddle.Tensor | np.ndarray]) -> None:
        """Write the trained tensors."""
        save_weights(self.folder / MODEL, tensors, {"format": "medvqa"})

    def clear_state(self) -> None:
        """Remove what only an unfinished run needs."""
        for name in (STATE, BEST):
            (self.folder / name).unlink(missing_ok=True)


def _save(path: Path, tensors: Mapping[str, paddle.Tensor | np.ndarray], text: str) -> None:
    arrays = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    save_weights(path, arrays, {_STATE_KEY: text, _HASH_KEY: _hash(arrays, text)})


def _load(path: Path) -> tuple[dict[str, np.ndarray], str]:
    """The tensors and the text that `_save` wrote."""
    try:
        tensors, metadata = read_weights(path), read_metadata(path)
    except MedvqaError as error:
        raise MedvqaError(error.what, remedy=_REMEDY) from error
    if _HASH_KEY not in metadata:
        raise MedvqaError(f"{path} was written by another version of this program", remedy=_REMEDY)
    text = metadata.get(_STATE_KEY, "")
    if metadata[_HASH_KEY] != _hash(tensors, text):
        raise MedvqaError(f"{path} is damaged: its content is not what was saved", remedy=_REMEDY)
    return tensors, text


def _hash(tensors: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).data)
    return digest.hexdigest()
