"""What a stage leaves: everything to predict, or to go on where it stopped.

model.safetensors   what was trained (and what it was trained on top of, but for the frozen language model)
config.json         preset, stage, recipe, seed, and the hashes of data, split and frozen weights
vocabulary.json     what may be answered, from the training fold's labels
log.jsonl           a line per epoch
state.safetensors   model and optimiser after the last whole epoch, while the stage is unfinished
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from pydantic import BaseModel, ConfigDict, ValidationError

from imageclef_vqa import __version__
from imageclef_vqa.errors import MedvqaError, MissingStepError
from imageclef_vqa.files import write_text
from imageclef_vqa.models.weights import load_weights, read_metadata, read_weights, save_weights
from imageclef_vqa.task import Vocabulary
from imageclef_vqa.training.recipe import Recipe

MODEL = "model.safetensors"
STATE = "state.safetensors"
CONFIG = "config.json"
VOCABULARY = "vocabulary.json"
LOG = "log.jsonl"


class StageConfig(BaseModel):
    """What a stage was trained from; a run goes on only with all of it unchanged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str
    stage: int
    recipe: Recipe
    seed: int
    fold: int
    data: str
    training_images: str
    weights: str
    weights_folder: str | None = None  # where those of a preset that comes without were found
    version: str = __version__

    def differences(self, other: StageConfig) -> list[str]:
        """`recipe.epochs: 20 there, 30 here`, one line for each field that differs."""
        unimportant = {"version", "weights_folder"}
        mine, others = (_flat(each.model_dump(exclude=unimportant)) for each in (self, other))
        return [f"{name}: {mine[name]} there, {others[name]} here" for name in mine if mine[name] != others[name]]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def fingerprint(*parts: str) -> str:
    """A short hash of texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def file_hash(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        MedvqaError: the file cannot be read.
    """
    try:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
        return digest.hexdigest()
    except OSError as error:
        raise MedvqaError(f"cannot read {path}: {error.strerror}") from error


class Stage:
    """The folder of one stage of one run."""

    def __init__(self, folder: Path, shown: str) -> None:
        self.folder = folder
        self.shown = shown

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
        for name in (MODEL, STATE, LOG):
            (self.folder / name).unlink(missing_ok=True)
        write_text(self.folder / CONFIG, config.model_dump_json(indent=2) + "\n")
        write_text(self.folder / VOCABULARY, vocabulary.model_dump_json() + "\n")

    def log(self, record: Mapping[str, Any]) -> None:
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def last_record(self) -> dict[str, float]:
        """The newest line of the log; empty before the first."""
        lines = (self.folder / LOG).read_text(encoding="utf-8").splitlines() if (self.folder / LOG).exists() else []
        return json.loads(lines[-1]) if lines else {}

    def save_state(self, model: nn.Layer, optimizer: paddle.optimizer.Optimizer, epoch: int) -> None:
        """Keep all that the next epoch depends on; what is random in it follows from seed and epoch."""
        tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
        moments = {name: value for name, value in optimizer.state_dict().items() if isinstance(value, paddle.Tensor)}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in moments.items()}
        save_weights(self.folder / STATE, tensors, {"epoch": str(epoch)})

    def load_state(self, model: nn.Layer, optimizer: paddle.optimizer.Optimizer) -> int:
        """Restore what `save_state` kept; returns the number of epochs done."""
        tensors = read_weights(self.folder / STATE)
        parts: dict[str, dict[str, np.ndarray]] = {"model": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        load_weights(model, parts["model"], str(self.folder / STATE))
        optimizer.set_state_dict({name: paddle.to_tensor(tensor) for name, tensor in parts["optimizer"].items()})
        return int(read_metadata(self.folder / STATE)["epoch"])

    def finish(self, tensors: Mapping[str, paddle.Tensor]) -> None:
        save_weights(self.folder / MODEL, tensors, {"format": "medvqa"})
        (self.folder / STATE).unlink(missing_ok=True)

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
