"""A language model's weights with its low-rank adapters merged into them, one matrix at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imageclef_vqa.checkpoints.language import SCALE
from imageclef_vqa.checkpoints.safetensors import open_safetensors, write_safetensors
from imageclef_vqa.checkpoints.stored import LazyTensor, narrowed, values


@dataclass(frozen=True)
class Merged:
    """W + scale·A·B in the type of W [k, l], with A [k, r] and B [r, l].

    A matrix in 8 bits, whose channels have the factors `channels` [l], becomes one in half precision: in 8 bits, most
    of what an adapter changes would be rounded away.
    """

    matrix: LazyTensor
    channels: LazyTensor | None
    a: np.ndarray
    b: np.ndarray
    scale: float

    @property
    def dtype(self) -> str:
        return "F16" if self.matrix.dtype == "I8" else self.matrix.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.matrix.shape

    def bits(self) -> np.ndarray:
        weight = values(self.matrix).astype("float32")
        if self.channels is not None:
            weight *= values(self.channels)
        weight += self.scale * (self.a @ self.b)
        return narrowed(weight, self.dtype)


def merge_language(
    source: Path, target: Path, adapters: Mapping[str, tuple[np.ndarray, np.ndarray]], scale: float
) -> None:
    """Write the weights of `source` to `target` with adapters merged; `adapters` has A and B by the name of the layer.

    Raises:
        MedvqaError: the file is missing or damaged.
    """
    stored, metadata = open_safetensors(source)
    tensors: dict[str, LazyTensor] = dict(stored)
    for layer, (a, b) in adapters.items():
        name = f"{layer}.weight"
        tensors[name] = Merged(stored[name], tensors.pop(name + SCALE, None), a, b, scale)
    write_safetensors(target, tensors, metadata, shown="write language")
