"""Dropout that does not depend on how a batch is split.

A batch may be computed in parts, one after another or on several devices. Each part draws the mask of the whole batch
and takes its own rows, so that all parts together drop what one device would have dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import paddle
from paddle import Tensor, nn

_rows: tuple[np.ndarray, int] | None = None


@contextmanager
def batch_rows(indices: np.ndarray, total: int) -> Iterator[None]:
    """Within the block, row r of a tensor is row `indices[r]` of a batch of `total` rows."""
    global _rows
    before, _rows = _rows, None if len(indices) == total else (indices, total)
    try:
        yield
    finally:
        _rows = before


@contextmanager
def part_rows(rows: np.ndarray, count: int) -> Iterator[None]:
    """Within the block, row r of a tensor is row `rows[r]` of the `count` rows that tensors have outside of it."""
    indices, total = (np.arange(count), count) if _rows is None else _rows
    with batch_rows(indices[rows], total):
        yield


def drop(x: Tensor, rate: float) -> Tensor:
    """Dropout with probability `rate` on x [n, …]; what is kept is scaled by 1 / (1 - rate)."""
    if _rows is None or not rate:
        return nn.functional.dropout(x, rate)
    indices, total = _rows
    mask = nn.functional.dropout(paddle.ones([total, *x.shape[1:]], dtype=x.dtype), rate)
    return x * mask.index_select(paddle.to_tensor(indices))


class Dropout(nn.Layer):
    """`drop` in training."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return drop(x, self.rate) if self.training else x
