"""Parameters and floating-point operations of the layers that all parts are made of.

A product of [a, b] and [b, c] takes 2·a·b·c operations; norms and sums are not counted.
"""

from __future__ import annotations

# Numbers per logit at the start of the backward pass: the logit, its probability and its gradient.
NUMBERS_PER_LOGIT = 3


def linear(inner: int, outer: int) -> int:
    """Parameters of a linear layer [inner, outer] with its bias."""
    return inner * outer + outer


def norm(width: int) -> int:
    """Parameters of a layer norm."""
    return 2 * width


def layer_flops(tokens: int, width: int, mlp_width: int) -> int:
    """Operations of a transformer layer's matrices: query, key, value, output and the MLP's two."""
    return 2 * tokens * (4 * width * width + 2 * width * mlp_width)


def attention_flops(queries: int, keys: int, width: int) -> int:
    """Operations of softmax(q·kᵀ)·v over all heads together."""
    return 2 * 2 * queries * keys * width
