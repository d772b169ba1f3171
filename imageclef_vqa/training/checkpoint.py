"""The folder of a stage: everything to predict with it, or to resume it where it stopped.

model.safetensors     the trained weights; of the frozen parts, vision if it was trained, never the language model
adapters.safetensors  the low-rank adapters of a frozen language model, if it has any
config.json           preset, stage, recipe, seed, and the hashes of data, split and starting weights
vocabulary.json       the allowed answers to closed questions, from the labels of the training fold
spiece.model          the tokenizer of a language model that learns, from the texts of the training fold
neighbours.*          the training pictures and sentences of open questions (`neighbours.py`)
record.json           the hashes of these files and of what they were made from; without it the stage is unfinished

While a stage is unfinished, it also has the files that `state.py` lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle

from imageclef_vqa.artefacts import Record, check_artefact, record_folder, record_path
from imageclef_vqa.checkpoints.layers import read_weights, save_weights
from imageclef_vqa.editions import Vocabulary
from imageclef_vqa.errors import MedvqaError, MissingFileError, MissingStepError
from imageclef_vqa.files import atomic_write, write_text
from imageclef_vqa.inputs import read_model, sha256
from imageclef_vqa.models.language import Tokenizer
from imageclef_vqa.models.language.adapters import adapted_layer
from imageclef_vqa.training.config import (
    ADAPTERS,
    CONFIG,
    CURVES,
    MODEL,
    NEIGHBOURS,
    TOKENIZER,
    VOCABULARY,
    StageConfig,
)
from imageclef_vqa.training.replacement import recover, replacement_of, stage_state
from imageclef_vqa.training.state import TrainerState, TrainingFolder
from imageclef_vqa.workspace import Workspace


class Stage(TrainingFolder):
    """A stage of the run of `workspace`, or, with `replacement`, the one that is trained to take its place."""

    def __init__(self, workspace: Workspace, number: int, *, replacement: bool = False) -> None:
        self.final_folder = workspace.stage(number)  # its own, or that of the stage that it replaces
        recover(self.final_folder)
        folder = replacement_of(self.final_folder) if replacement else self.final_folder
        super().__init__(folder, workspace.shown(folder))
        self.number = number
        self.command = workspace.typed(f"medvqa finetune --stage {number}")
        self._split_file, self._shown_split = workspace.split_file, workspace.shown(workspace.split_file)
        self._record: Record | None = None

    @property
    def finished(self) -> bool:
        """Whether there is a record."""
        return stage_state(self.folder) == "finished"

    @property
    def has_model(self) -> bool:
        """Whether the stage is finished, or was finished by a version that kept no records."""
        return stage_state(self.folder) in ("finished", "unrecorded")

    def check(self) -> Record:
        """The record of the finished stage, after all files were hashed; only the first call reads them.

        Raises:
            MissingStepError: the stage is missing or unfinished.
            ChangedError: a file is not the one that was finished, or there is no record.
        """
        if self._record is None:
            if not self.has_model:
                raise MissingStepError(f"no finished stage {self.number} in {self.shown}", self.command)
            self._record = check_artefact(self.folder, self.shown, f"`{self.command} --fresh` trains it again")
        return self._record

    def config(self) -> StageConfig:
        """What the stage was trained from. Raises what `check` raises for a finished stage."""
        return self._read(CONFIG, StageConfig)

    def vocabulary(self) -> Vocabulary:
        """What the stage may answer to closed questions. Raises what `check` raises for a finished stage."""
        return self._read(VOCABULARY, Vocabulary)

    def tokenizer(self) -> Tokenizer:
        """The tokenizer that was learnt with the language model. Raises what `check` raises."""
        self.check()
        return Tokenizer(self.folder / TOKENIZER)

    def trained(self) -> dict[str, np.ndarray]:
        """The trained tensors by name, those of adapters too. Raises what `check` raises."""
        files = [name for name in (MODEL, ADAPTERS) if name in self.check().files]
        return {name: array for file in files for name, array in read_weights(self.folder / file).items()}

    def can_resume(self, config: StageConfig) -> bool:
        """Whether there is an unfinished stage with the same config.

        Raises:
            MedvqaError: there is one with another config; the message lists the differences.
        """
        if not self.unfinished:
            return False
        if differences := self.config().differences(config):
            raise MedvqaError(
                "\n".join([f"the unfinished run in {self.shown} was started from something else:", *differences]),
                remedy="give the same options and data to resume it, or --fresh to start over",
            )
        return True

    def start(self, config: StageConfig, vocabulary: Vocabulary | None, tokenizer: bytes | None = None) -> None:
        """Remove what an earlier run left and write config, vocabulary and tokenizer, where there are such."""
        self.clear_state()
        for path in (
            record_path(self.folder),
            *(self.folder / name for name in (MODEL, ADAPTERS, CURVES, VOCABULARY, TOKENIZER, *NEIGHBOURS)),
        ):
            path.unlink(missing_ok=True)
        self.log.start()
        self._describe(config, vocabulary, tokenizer)

    def resume(
        self, config: StageConfig, vocabulary: Vocabulary | None, tokenizer: bytes | None = None
    ) -> TrainerState:
        """Cut the log back to the saved state, write what `start` writes, and return that state.

        Raises:
            MedvqaError: the state is damaged.
        """
        _, state = self.load_state(config.recipe.epochs)
        self.log.resume(state.total, state.epoch)
        self._describe(config, vocabulary, tokenizer)
        return state

    def finish(self, tensors: Mapping[str, paddle.Tensor | np.ndarray], config: StageConfig) -> None:
        """Write the trained tensors and the record, and remove the state.

        Raises:
            MedvqaError: the split is not the one that the stage was trained on, or a file cannot be written; the
                state is kept.
        """
        if not self._split_file.is_file() or sha256(self._split_file) != config.split:
            raise MedvqaError(
                f"{self._shown_split}: the split changed while {self.shown} was trained",
                remedy="restore it, and the same command finishes the stage; --fresh trains it on the new split",
            )
        adapters = {name: tensor for name, tensor in tensors.items() if adapted_layer(name)}
        self.save_model({name: tensor for name, tensor in tensors.items() if name not in adapters})
        if adapters:
            save_weights(self.folder / ADAPTERS, adapters, {"format": "medvqa"})
        optional = (ADAPTERS, VOCABULARY, TOKENIZER, *NEIGHBOURS)
        names = [MODEL, CONFIG, *(name for name in optional if (self.folder / name).exists())]
        record_folder(self.folder, names, command=f"finetune --stage {self.number}", inputs=config.inputs)
        self.clear_state()

    def _describe(self, config: StageConfig, vocabulary: Vocabulary | None, tokenizer: bytes | None) -> None:
        write_text(self.folder / CONFIG, config.model_dump_json(indent=2) + "\n")
        if vocabulary is not None:
            write_text(self.folder / VOCABULARY, vocabulary.model_dump_json() + "\n")
        if tokenizer is not None:
            with atomic_write(self.folder / TOKENIZER, "wb") as file:
                file.write(tokenizer)

    def _read(self, name: str, kind: Any) -> Any:
        if self.has_model:
            self.check()
        path = self.folder / name
        try:
            return read_model(path, kind, f"`{self.command} --fresh` starts over")
        except MissingFileError as error:
            raise MissingStepError(f"no {name} in {self.shown}", self.command) from error
