"""Scaled dot-product attention.  n sequences, h heads, q queries, k keys, c channels of one head."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from imageclef_vqa.models.dropout import drop

# Added to the score of a masked key. It is finite, so that a row without keys does not become NaN, and fits fp16.
MASKED = -1e4

_TRACE: ContextVar[list[Tensor] | None] = ContextVar("attention weights", default=None)


@contextmanager
def traced() -> Iterator[list[Tensor]]:
    """Within the block, the weights of every attention are kept in this list, in the order of computation.

    They are [n, h, q, k] or [n·h, q, k], and gradients can be taken with respect to them.
    """
    kept: list[Tensor] = []
    token = _TRACE.set(kept)
    try:
        yield kept
    finally:
        _TRACE.reset(token)


def trace(weights: Tensor) -> Tensor:
    """Attention weights to go on with; they are kept if they are traced."""
    kept = _TRACE.get()
    if kept is None:
        return weights
    if weights.stop_gradient and paddle.is_grad_enabled():  # nothing below them learns: gradients end here
        weights = weights.detach()
        weights.stop_gradient = False
    kept.append(weights)
    return weights


def attend(
    q: Tensor, k: Tensor, v: Tensor, heads: int, visible: Tensor | None = None, *, dropout: float = 0.0
) -> Tensor:
    """softmax(q·kᵀ / √c)·v for every head: q [n, q, h·c], k and v [n, k, h·c] → [n, q, h·c].

    `visible` (bool, broadcast to [n, h, q, k]) is the mask; `dropout` acts on the attention weights.
    """
    q, k, v = (x.reshape([0, 0, heads, -1]) for x in (q, k, v))  # [n, t, h, c]
    half = q.dtype in (paddle.float16, paddle.bfloat16)
    if half and visible is None and not dropout and _TRACE.get() is None:
        # The fused kernels exist for half precision; for float32, Paddle computes exactly what follows. They cannot
        # draw dropout for the whole batch, and keep no weights.
        return F.scaled_dot_product_attention(q, k, v).flatten(2)
    q, k, v = (x.transpose([0, 2, 1, 3]) for x in (q, k, v))  # [n, h, t, c]
    scores = paddle.matmul(q * q.shape[-1] ** -0.5, k, transpose_y=True)
    if visible is not None:
        scores = scores + (1.0 - visible.astype(scores.dtype)) * MASKED
    weights = drop(trace(F.softmax(scores, axis=-1)), dropout)
    x = paddle.matmul(weights, v).transpose([0, 2, 1, 3])
    return x.reshape([0, 0, -1])
