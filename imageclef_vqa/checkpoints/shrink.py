"""`medvqa weights shrink`: a folder of weights with its language model in 8 bits."""

from __future__ import annotations

import shutil
from functools import cached_property
from pathlib import Path

import numpy as np
from paddle import nn

from imageclef_vqa.checkpoints.folder import CONFIG, read_folder_config
from imageclef_vqa.checkpoints.language import SCALE, matrices, outline
from imageclef_vqa.checkpoints.pretrained import LANGUAGE
from imageclef_vqa.checkpoints.safetensors import open_safetensors, write_safetensors
from imageclef_vqa.checkpoints.stored import InMemory, LazyTensor, values
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.models.configs import LanguageConfig


def shrink_folder(source: Path, target: Path) -> None:
    """Copy `source` to `target`, with the language model in 8 bits.

    Raises:
        MedvqaError: `source` is not a folder made by `medvqa weights convert`, or has no language model.
        UsageError: both are the same folder.
    """
    config = read_folder_config(source) if source.is_dir() else None
    if config is None or config.language is None:
        raise MedvqaError(
            f"{source} holds no converted language model", remedy="`medvqa weights convert` makes such a folder"
        )
    if target.resolve() == source.resolve():
        raise UsageError(f"{target}: name a folder other than the source")
    shrink_language(config.language, source / LANGUAGE, target / LANGUAGE)
    others = [file for file in sorted(source.iterdir()) if file.is_file() and file.name not in (LANGUAGE, CONFIG)]
    for file in (*others, source / CONFIG):  # config.json last: without it, the folder does not count as complete
        shutil.copyfile(file, target / file.name)


def shrink_language(config: LanguageConfig, source: Path, target: Path) -> None:
    """Write the weights of `source` to `target` with every matrix in 8 bits, one at a time.

    Raises:
        MedvqaError: the file is missing or damaged, or already in 8 bits.
    """
    stored, metadata = open_safetensors(source)
    if any(tensor.dtype == "I8" for tensor in stored.values()):
        raise MedvqaError(f"{source} is in 8 bits already")
    tensors: dict[str, LazyTensor] = dict(stored)
    for _, _, prefix, child in matrices(outline(config).model):
        if f"{prefix}weight" in stored:
            shrunk = EightBits(stored[f"{prefix}weight"], axis=0 if isinstance(child, nn.Embedding) else 1)
            tensors |= {f"{prefix}weight": shrunk, f"{prefix}weight{SCALE}": shrunk.scale}
    write_safetensors(target, tensors, metadata)


class EightBits:
    """A matrix in 8 bits: one scale for each index along `axis`, whose largest absolute value becomes 127."""

    dtype = "I8"

    def __init__(self, matrix: LazyTensor, axis: int) -> None:
        self._matrix, self._axis, self.shape = matrix, axis, matrix.shape

    @cached_property
    def scale(self) -> InMemory:
        """The factor of each row or column, float32."""
        largest = np.abs(values(self._matrix)).max(axis=1 - self._axis).astype("float32")
        return InMemory(np.where(largest > 0, largest / 127.0, 1.0).astype("float32"))

    def bits(self) -> np.ndarray:
        scale = np.expand_dims(self.scale.array, 1 - self._axis)
        return np.rint(values(self._matrix) / scale).astype("int8")
