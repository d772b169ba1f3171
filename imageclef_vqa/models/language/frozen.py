"""Layers of a frozen language model whose weights stay as their file stores them: half precision or 8 bits, mapped.

A CPU multiplies only float32. Each matrix is widened for one product and dropped again, forward and backward, so that
of ChatGLM-6B's 24 GB in float32 one matrix exists at a time. Gradients pass through to the input.

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
    """A matrix as its file has it: float32, float16, bfloat16 (NumPy: uint16) or int8 with a scale.

    `scale`, for int8, is the factor of each channel out of a linear layer, or of each token of an embedding.
    """

    dtype = paddle.float32  # after widening

    def __init__(self, array: np.ndarray, scale: np.ndarray | None = None) -> None:
        self._array = array
        # Devices other than the CPU hold it in their own memory, with the same number of bytes.
        self._moved = None if paddle.get_device() == "cpu" else paddle.to_tensor(array)
        self.scale = None if scale is None else paddle.to_tensor(scale.astype("float32"))

    def __len__(self) -> int:
        return len(self._array)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    def widen(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Rows `start` to `stop` in float32, without their scale."""
        part = _view(self._array[start:stop]) if self._moved is None else self._moved[start:stop]
        return part.astype("float32")

    def rows(self, indices: Tensor) -> Tensor:
        """The rows at `indices` [n, t] in float32, with their scale: [n, t, w]."""
        rows = _view(self._array[indices.numpy()]) if self._moved is None else self._moved[indices]
        rows = rows.astype("float32")
        return rows if self.scale is None else rows * self.scale[indices].unsqueeze(-1)

    def columns(self, indices: Tensor) -> Tensor:
        """The columns at `indices` [k] in float32, with their scale, transposed: [k, ·]."""
        if self._moved is None:
            columns = _view(self._array.take(indices.numpy(), axis=1))
        else:
            columns = self._moved.index_select(indices, 1)
        columns = columns.astype("float32")
        return (columns if self.scale is None else columns * self.scale.index_select(indices)).t()


def _view(array: np.ndarray) -> Tensor:
    """A tensor on the CPU that shares the memory of `array`."""
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

    def output_weights(self, channels: Tensor) -> Tensor:
        """The weights of `channels` [k] out of l: [k, channels in]."""
        return self.stored.columns(channels)


class FrozenEmbedding(nn.Layer):
    """Rows of a matrix [v, w] as stored."""

    def __init__(self, weight: Matrix) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.weight.rows(tokens)


def token_logits(embedding: nn.Embedding | FrozenEmbedding, states: Tensor) -> Tensor:
    """The output layer of a tied model: states [n, t, w] times every token's embedding, [n, t, v]."""
    if isinstance(embedding, FrozenEmbedding):
        return _TokenLogits.apply(states, embedding.weight)
    return paddle.matmul(states, embedding.weight, transpose_y=True)


class _Product(PyLayer):
    @staticmethod
    def forward(ctx: PyLayer, x: Tensor, weight: Matrix) -> Tensor:
        ctx.weight, ctx.dtype = weight, x.dtype
        y = paddle.matmul(x, weight.widen())
        return y if weight.scale is None else y * weight.scale

    @staticmethod
    def backward(ctx: PyLayer, dy: Tensor) -> Tensor:
        dy = _cast(dy, paddle.float32)  # the forward pass may have computed in half precision
        dy = dy if ctx.weight.scale is None else dy * ctx.weight.scale
        return _cast(paddle.matmul(dy, ctx.weight.widen(), transpose_y=True), ctx.dtype)


class _TokenLogits(PyLayer):
    """`_Product` with the matrix transposed, a block of tokens at a time."""

    @staticmethod
    def forward(ctx: PyLayer, states: Tensor, weight: Matrix) -> Tensor:
        ctx.weight, ctx.dtype = weight, states.dtype
        blocks = [paddle.matmul(states, weight.widen(start, stop), transpose_y=True) for start, stop in _blocks(weight)]
        logits = paddle.concat(blocks, axis=-1)
        return logits if weight.scale is None else logits * weight.scale

    @staticmethod
    def backward(ctx: PyLayer, dy: Tensor) -> Tensor:
        weight, total, dy = ctx.weight, None, _cast(dy, paddle.float32)
        dy = dy if weight.scale is None else dy * weight.scale
        for start, stop in _blocks(weight):
            part = paddle.matmul(dy[..., start:stop], weight.widen(start, stop))
            total = part if total is None else total + part
        return _cast(total, ctx.dtype)


def _cast(x: Tensor, dtype: Any) -> Tensor:
    return x if x.dtype == dtype else x.astype(dtype)


def _blocks(weight: Matrix) -> list[tuple[int, int]]:
    rows = len(weight)
    return [(start, min(start + VOCABULARY_BLOCK, rows)) for start in range(0, rows, VOCABULARY_BLOCK)]
