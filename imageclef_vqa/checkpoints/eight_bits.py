"""A stored matrix, rounded to 8 bits while it is written."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from imageclef_vqa.checkpoints.stored import Bits, InMemory, values


class EightBits:
    """`matrix` in 8 bits: a scale for each index along `axis`, of which the largest absolute value becomes 127."""

    dtype = "I8"

    def __init__(self, matrix: Bits, axis: int) -> None:
        self._matrix, self._axis, self.shape = matrix, axis, matrix.shape

    @cached_property
    def scale(self) -> InMemory:
        """What each row or column is multiplied by: float32 [·]."""
        largest = np.abs(values(self._matrix)).max(axis=1 - self._axis).astype("float32")
        return InMemory(np.where(largest > 0, largest / 127.0, 1.0).astype("float32"))

    def bits(self) -> np.ndarray:
        scale = np.expand_dims(self.scale.array, 1 - self._axis)
        return np.rint(values(self._matrix) / scale).astype("int8")
