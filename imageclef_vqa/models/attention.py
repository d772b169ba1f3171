"""Scaled dot-product attention.  n sequences, h heads, q queries, k keys, c channels of one head."""

from __future__ import annotations

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from imageclef_vqa.models.dropout import drop

# Added to the score of a masked key. It is finite, so that a row without keys does not become NaN, and fits fp16.
MASKED = -1e4


def attend(
    q: Tensor, k: Tensor, v: Tensor, heads: int, visible: Tensor | None = None, *, dropout: float = 0.0
) -> Tensor:
    """softmax(q·kᵀ / √c)·v for every head: q [n, q, h·c], k and v [n, k, h·c] → [n, q, h·c].

    `visible` (bool, broadcast to [n, h, q, k]) is the mask; `dropout` acts on the attention weights.
    """
    q, k, v = (x.reshape([0, 0, heads, -1]) for x in (q, k, v))  # [n, t, h, c]
    if visible is None and not dropout and q.dtype in (paddle.float16, paddle.bfloat16):
        # The fused kernels exist for half precision; for float32, Paddle computes exactly what follows. They cannot
        # draw dropout for the whole batch.
        return F.scaled_dot_product_attention(q, k, v).flatten(2)
    q, k, v = (x.transpose([0, 2, 1, 3]) for x in (q, k, v))  # [n, h, t, c]
    scores = paddle.matmul(q * q.shape[-1] ** -0.5, k, transpose_y=True)
    if visible is not None:
        scores = scores + (1.0 - visible.astype(scores.dtype)) * MASKED
    weights = drop(F.softmax(scores, axis=-1), dropout)
    x = paddle.matmul(weights, v).transpose([0, 2, 1, 3])
    return x.reshape([0, 0, -1])
