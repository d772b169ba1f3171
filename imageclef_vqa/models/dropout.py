"""Dropout that does not depend on how a batch is cut up.

A batch may be computed in parts, one after another or on several devices. Each part draws for the whole batch and takes
its own rows, so that the parts together drop what one device would have dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import paddle
from paddle import Tensor, nn

_rows: tuple[np.ndarray, int] | None = None


@contextmanager
def rows_at_hand(places: np.ndarray, total: int) -> Iterator[None]:
    """Within the block, row r of what is dropped from is row `places[r]` of `total`."""
    global _rows
    before, _rows = _rows, None if len(places) == total else (places, total)
    try:
        yield
    finally:
        _rows = before


def drop(x: Tensor, share: float) -> Tensor:
    """x [n, …] with each number dropped with probability `share`, and the others made larger to make up for it."""
    if _rows is None or not share:
        return nn.functional.dropout(x, share)
    places, total = _rows
    kept = nn.functional.dropout(paddle.ones([total, *x.shape[1:]], dtype=x.dtype), share)
    return x * kept.index_select(paddle.to_tensor(places))


class Dropout(nn.Layer):
    """`drop` in training."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return drop(x, self.share) if self.training else x
