"""A frozen language model that stays as its file stores it: half precision or 8 bits, memory-mapped.

A CPU multiplies float32 only. Each matrix is widened when its turn comes and dropped right after, forward and backward:
of 24 GB of widened weights (ChatGLM-6B), one matrix exists at a time. Gradients pass through to what was put in.

m rows, k channels in, l channels out, v vocabulary, w width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.autograd import PyLayer

from imageclef_vqa.models.configs.language import VOCABULARY_BLOCK


class Matrix:
    """A matrix as its file has it: float32, float16, bfloat16 (numpy's uint16) or int8 with a scale.

    `scale`, for int8, holds what each channel out (of a linear layer) or word (of an embedding) is multiplied with.
    """

    dtype = paddle.float32  # of what it is widened to

    def __init__(self, array: np.ndarray, scale: np.ndarray | None = None) -> None:
        self._array = array
        # Other devices hold it in their own memory, in as few bytes.
        self._moved = None if paddle.get_device() == "cpu" else paddle.to_tensor(array)
        self.scale = None if scale is None else paddle.to_tensor(scale.astype("float32"))

    def __len__(self) -> int:
        return len(self._array)

    def widen(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Rows `start` to `stop` in float32, without their scale."""
        part = _view(self._array[start:stop]) if self._moved is None else self._moved[start:stop]
        return part.astype("float32")

    def rows(self, places: Tensor) -> Tensor:
        """The rows at `places` [n, t] in float32, with their scale: [n, t, w]."""
        rows = _view(self._array[places.numpy()]) if self._moved is None else self._moved[places]
        rows = rows.astype("float32")
        return rows if self.scale is None else rows * self.scale[places].unsqueeze(-1)

    def columns(self, places: Tensor) -> Tensor:
        """The columns at `places` [k] in float32, with their scale, one a row: [k, ·]."""
        columns = (
            _view(self._array.take(places.numpy(), axis=1))
            if self._moved is None
            else self._moved.index_select(places, 1)
        )
        columns = columns.astype("float32")
        return (columns if self.scale is None else columns * self.scale.index_select(places)).t()


def _view(array: np.ndarray) -> Tensor:
    """A tensor on the CPU over the memory of `array`, without a copy."""
    return paddle.base.core.eager.Tensor(
        value=array, place=paddle.CPUPlace(), persistable=False, zero_copy=True, name="stored"
    )


class FrozenLinear(nn.Layer):
    """x [m, k] → x·weight + bias [m, l], weight [k, l] as stored."""

    def __init__(self, weight: Matrix, bias: np.ndarray | None) -> None:
        super().__init__()
        self.stored = weight
        self.bias = None if bias is None else paddle.to_tensor(bias.astype("float32"))

    def forward(self, x: Tensor) -> Tensor:
        y = _Product.apply(x, self.stored)
        return y if self.bias is None else y + self.bias

    def channels(self, places: Tensor) -> Tensor:
        """The weights of these channels out [k]: [k, channels in]."""
        return self.stored.columns(places)


class FrozenEmbedding(nn.Layer):
    """Rows of a matrix [v, w] as stored; and, as the output layer of a tied model, its product with states."""

    def __init__(self, weight: Matrix) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.weight.rows(tokens)


def word_logits(words: nn.Embedding | FrozenEmbedding, states: Tensor) -> Tensor:
    """The product of states [n, t, w] with every word's embedding: [n, t, v]."""
    if isinstance(words, FrozenEmbedding):
        return _Words.apply(states, words.weight)
    return paddle.matmul(states, words.weight, transpose_y=True)


class _Product(PyLayer):
    @staticmethod
    def forward(ctx: PyLayer, x: Tensor, weight: Matrix) -> Tensor:
        ctx.weight, ctx.dtype = weight, x.dtype
        y = paddle.matmul(x, weight.widen())
        return y if weight.scale is None else y * weight.scale

    @staticmethod
    def backward(ctx: PyLayer, dy: Tensor) -> Tensor:
        dy = _cast(dy, paddle.float32)  # products of the forward pass may be in half precision
        dy = dy if ctx.weight.scale is None else dy * ctx.weight.scale
        return _cast(paddle.matmul(dy, ctx.weight.widen(), transpose_y=True), ctx.dtype)


class _Words(PyLayer):
    """As `_Product` with the matrix transposed, a block of words at a time."""

    @staticmethod
    def forward(ctx: PyLayer, states: Tensor, words: Matrix) -> Tensor:
        ctx.words, ctx.dtype = words, states.dtype
        blocks = [paddle.matmul(states, words.widen(start, stop), transpose_y=True) for start, stop in _blocks(words)]
        logits = paddle.concat(blocks, axis=-1)
        return logits if words.scale is None else logits * words.scale

    @staticmethod
    def backward(ctx: PyLayer, dy: Tensor) -> Tensor:
        words, total, dy = ctx.words, None, _cast(dy, paddle.float32)
        dy = dy if words.scale is None else dy * words.scale
        for start, stop in _blocks(words):
            part = paddle.matmul(dy[..., start:stop], words.widen(start, stop))
            total = part if total is None else total + part
        return _cast(total, ctx.dtype)


def _cast(x: Tensor, dtype: Any) -> Tensor:
    return x if x.dtype == dtype else x.astype(dtype)


def _blocks(words: Matrix) -> list[tuple[int, int]]:
    return [(start, min(start + VOCABULARY_BLOCK, len(words))) for start in range(0, len(words), VOCABULARY_BLOCK)]
