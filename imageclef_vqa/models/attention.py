"""Scaled dot-product attention.  n sequences, h heads, q queries, k keys, c channels of one head."""

from __future__ import annotations

import paddle
from paddle import Tensor

# Added to the score of a key that must not be seen; finite, so that a row without keys is no NaN, and fp16 can hold it.
HIDDEN = -1e4


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[n, t, h·c] → [n, h, t, c]."""
    return x.reshape([0, 0, heads, -1]).transpose([0, 2, 1, 3])


def merge_heads(x: Tensor) -> Tensor:
    """[n, h, t, c] → [n, t, h·c]."""
    x = x.transpose([0, 2, 1, 3])
    return x.reshape([0, 0, -1])


def attend(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None = None) -> Tensor:
    """Softmax(q·kᵀ / √c)·v, [n, h, q, c]; `visible` (bool, broadcast to [n, h, q, k]) says who may see whom."""
    scores = paddle.matmul(q * q.shape[-1] ** -0.5, k, transpose_y=True)
    if visible is not None:
        scores = scores + (1.0 - visible.astype(scores.dtype)) * HIDDEN
    return paddle.matmul(paddle.nn.functional.softmax(scores, axis=-1), v)
