"""T5's layers with the weights of PaddleNLP's. Letters as in `t5.py`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.incubate.nn.functional import fused_rms_norm

from imageclef_vqa.models.attention import MASKED, trace
from imageclef_vqa.models.language.paddlenlp import (
    T5Attention,
    T5DenseReluDense,
    T5LayerFF,
    T5LayerNorm,
    T5Stack,
)

_LARGEST = 65504.0  # of float16
KeysAndValues = tuple[Tensor, Tensor]  # [n or r, h, tokens, c] of one layer


class Slots(NamedTuple):
    """The rows of each pair side by side in m slots, so that they attend to their pair's keys without copying them.

    m is the largest number of rows that a pair has; unused slots repeat row 0 and are not read.
    """

    pair: np.ndarray  # [r]
    slot: Tensor  # [r], the slot of each row
    row: Tensor  # [n·m], the row in each slot

    @classmethod
    def of(cls, pair: np.ndarray) -> Slots:
        order = np.argsort(pair, kind="stable")
        count = np.bincount(pair)
        most = int(count.max(initial=0))
        slot = np.empty(len(pair), dtype="int64")
        slot[order] = np.arange(len(pair)) + (most * np.arange(len(count)) - (count.cumsum() - count))[pair[order]]
        row = np.zeros(len(count) * most, dtype="int64")
        row[slot] = np.arange(len(pair))
        return cls(pair, paddle.to_tensor(slot), paddle.to_tensor(row))


def mask_bias(mask: Tensor) -> Tensor:
    """What a mask [n, p] adds to scores: [n, 1, 1, p]."""
    return ((1.0 - mask.astype("float32")) * MASKED).unsqueeze([1, 2])


def relative_bias(stack: T5Stack, tokens: int, first: int = 0) -> Tensor:
    """What relative positions add to the scores of tokens from `first` on: [1, h, tokens - first, tokens]."""
    # PaddleNLP's first layer holds it for all layers. Callers expand it before they add it: the CPU's kernel takes
    # thirty times as long to broadcast inner axes (3.3.1).
    attention, most = stack.block[0].layer[0].SelfAttention, stack.config.relative_attention_max_distance
    bucket = _buckets(tokens, attention.relative_attention_num_buckets, most, not attention.is_decoder)[first:]
    return attention.relative_attention_bias(paddle.to_tensor(bucket)).transpose([2, 0, 1]).unsqueeze(0)


@lru_cache(maxsize=64)
def _buckets(tokens: int, buckets: int, most: int, bidirectional: bool) -> np.ndarray:
    """The bucket of each token's distance to each [tokens, tokens]; distances from `most` on share one."""
    position = paddle.arange(tokens)
    distance = position.unsqueeze(0) - position.unsqueeze(1)
    return T5Attention._relative_position_bucket(distance, bidirectional, buckets, most).numpy()


def keys_and_values(attention: T5Attention, x: Tensor) -> KeysAndValues:
    """Keys and values [n, h, k, c] of tokens x [n, k, w]."""
    return _heads(attention, _product(x, attention.k)), _heads(attention, _product(x, attention.v))


def _heads(attention: T5Attention, x: Tensor) -> Tensor:
    """[n, k, h·c] → [n, h, k, c]."""
    if x.shape[1] == 1:  # a reshape is enough, without a copy
        return x.reshape([0, attention.n_heads, 1, -1])
    return x.reshape([0, 0, attention.n_heads, -1]).transpose([0, 2, 1, 3])


def attend(
    attention: T5Attention, x: Tensor, source: KeysAndValues, bias: Tensor, slots: Slots | None = None
) -> Tensor:
    """Attention of tokens x [r, a, w] to keys and values [n, h, k, c], with a bias on the scores [n, h, m·a, k].

    With `slots`, a row attends to the keys and values of its pair, otherwise to its own.
    """
    (r, a, _), queries, (keys, values) = x.shape, _product(x, attention.q), source
    if slots is not None:
        queries = queries.flatten(1).index_select(slots.row).reshape([len(keys), -1, queries.shape[-1]])
    scores = paddle.matmul(_heads(attention, queries), keys, transpose_y=True) + bias  # T5 does not scale them
    read = paddle.matmul(trace(nn.functional.softmax(scores, axis=-1)), values)
    if read.shape[2] > 1:
        read = read.transpose([0, 2, 1, 3])
    if slots is not None:
        read = read.reshape([len(slots.row), -1]).index_select(slots.slot)
    return _product(read.reshape([r, a, -1]), attention.o)


def mlp(layer: T5LayerFF, x: Tensor, activate: Callable[[Tensor], Tensor]) -> Tensor:
    """What the MLP adds to x [n, t, w]."""
    dense, normed = layer.DenseReluDense, layer.layer_norm(x)
    if isinstance(dense, T5DenseReluDense):
        wide = activate(_product(normed, dense.wi))
    else:
        wide = activate(_product(normed, dense.wi_0)) * _product(normed, dense.wi_1)
    return _product(wide, dense.wo)


def _product(x: Tensor, layer: nn.Layer) -> Tensor:
    """A linear layer without bias; for small models, `nn.Linear` takes noticeably longer to choose its kernel."""
    return paddle.matmul(x, layer.weight) if isinstance(layer, nn.Linear) else layer(x)


def add(x: Tensor, more: Tensor) -> Tensor:
    """The sum in float32; what overflowed in float16 counts as its largest number."""
    if more.dtype == paddle.float32:
        return x + more
    wide = more.astype("float32")
    return x + (wide.clip(-_LARGEST, _LARGEST) if more.dtype == paddle.float16 else wide)


class RootMeanSquareNorm(nn.Layer):
    """T5's norm with PaddleNLP's weight; without gradients on a CPU, by Paddle's fused operator (3.3.1: 3 times as fast
    as products with vectors, and one operator instead of six)."""

    def __init__(self, norm: T5LayerNorm) -> None:
        super().__init__()
        self.weight = norm.weight
        self.epsilon = norm.variance_epsilon

    def forward(self, x: Tensor) -> Tensor:
        if x.place.is_cpu_place() and not paddle.is_grad_enabled():
            return fused_rms_norm(x, self.weight, None, self.epsilon, x.ndim - 1)[0]
        return self.weight * (x * paddle.rsqrt(paddle.square(x).mean(-1, keepdim=True) + self.epsilon))
