"""Tensors in files: where their bytes are and what they mean. Nothing is read before it is needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inputs import open_input

# Element types, under safetensors' names and in its order. NumPy has no bfloat16: its bits are stored as uint16.
DTYPES = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
}
FLOATS = ("F16", "BF16", "F32", "F64")
MOST_DIMENSIONS = 32  # of a tensor: NumPy's limit
_AT_ONCE = 2**20  # numbers that are checked together


class LazyTensor(Protocol):
    """A tensor whose elements are made by `bits`: from a file, from memory, or from other tensors."""

    @property
    def dtype(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def bits(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Stored:
    """`shape` elements of `dtype` from byte `offset` of `file`; `strides` (in elements) only if it is not row-major."""

    name: str
    file: Path
    offset: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None = None

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize

    def bits(self) -> np.ndarray:
        """The elements, row-major (bfloat16 as uint16).

        Raises:
            MedvqaError: the file cannot be read, or ends before the tensor does.
        """
        kind = DTYPES[self.dtype]
        with open_input(self.file) as file:
            flat = np.fromfile(file, kind, count=span(self.shape, self.strides), offset=self.offset)
        if flat.size < span(self.shape, self.strides):
            raise MedvqaError(f"{self.file}: ends in the middle of {self.name}")
        if self.strides is None:
            return flat.reshape(self.shape)
        steps = [stride * kind.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(flat, self.shape, steps, writeable=False).copy()


@dataclass(frozen=True)
class InMemory:
    """An array as a lazy tensor."""

    array: np.ndarray

    @property
    def dtype(self) -> str:
        return next(name for name, kind in DTYPES.items() if kind == self.array.dtype and name != "BF16")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def bits(self) -> np.ndarray:
        return self.array


def span(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> int:
    """How many elements there are from the first to the last one of a tensor, including both."""
    if strides is None or 0 in shape:
        return math.prod(shape)
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def values(tensor: LazyTensor) -> np.ndarray:
    """The numbers of a tensor; bfloat16 becomes float32 exactly."""
    return widened(tensor.bits(), tensor.dtype)


def widened(bits: np.ndarray, dtype: str) -> np.ndarray:
    """`bits` of `dtype` as numbers."""
    return (bits.astype("<u4") << 16).view("<f4") if dtype == "BF16" else bits


def narrowed(numbers: np.ndarray, dtype: str) -> np.ndarray:
    """float32 as bits of `dtype`; bfloat16 (as uint16) is rounded to the nearest even number."""
    if dtype != "BF16":
        return numbers.astype(DTYPES[dtype])
    bits = numbers.view("<u4")
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")


def all_finite(bits: np.ndarray, dtype: str) -> bool:
    """Whether no number is infinite or NaN, checked in blocks: a mask of a large tensor may not fit into memory."""
    flat = bits.reshape(-1)
    blocks = (flat[start : start + _AT_ONCE] for start in range(0, flat.size, _AT_ONCE))
    return all(np.isfinite(widened(block, dtype)).all() for block in blocks)
