"""T5 with the weights of PaddleNLP's (Raffel et al. 2020), which reads visual tokens and question in its encoder.

i images, n pairs, r rows (answers under way), h heads, c channels of a head, q visual tokens, t question tokens,
p = q + t tokens of a pair, a answer tokens, s tokens said before, m rows of a pair, w width, v vocabulary.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.amp.auto_cast import amp_state

from imageclef_vqa.models.activations import tanh_gelu
from imageclef_vqa.models.attention import MASKED
from imageclef_vqa.models.configs import T5Config
from imageclef_vqa.models.language.frozen import FrozenLinear, word_logits
from imageclef_vqa.models.language.interface import Language
from imageclef_vqa.models.language.paddlenlp import (
    T5Attention,
    T5DenseGatedSiluDense,
    T5DenseReluDense,
    T5ForConditionalGeneration,
    T5LayerFF,
    T5LayerNorm,
    T5Stack,
)
from imageclef_vqa.models.language.paddlenlp import T5Config as PaddleNLPConfig

_LARGEST = 65504.0  # of float16
KeysAndValues = tuple[Tensor, Tensor]  # [n or r, h, tokens, c] of one layer


class T5Memory(NamedTuple):
    """What the decoder sees of each pair, and of what each row has said.

    Rows share what their pair has: an answer under way costs only what it has said.
    """

    read: list[KeysAndValues]  # [n, h, p, c] a layer, of the encoder's states
    mask: Tensor  # [n, p], 0 at padding
    seats: Seats | None = None  # of the rows; None: one row a pair, in their order
    said: tuple[KeysAndValues, ...] = ()  # [r, h, s, c] a layer; empty before the first step

    def rows(self, rows: Tensor) -> T5Memory:
        said = tuple((keys.index_select(rows), values.index_select(rows)) for keys, values in self.said)
        pair = rows.numpy() if self.seats is None else self.seats.pair[rows.numpy()]
        left, pair = np.unique(pair, return_inverse=True)
        read, mask = self.read, self.mask
        if len(left) < len(mask):  # pairs that are answered are let go
            place = paddle.to_tensor(left)
            read = [(keys.index_select(place), values.index_select(place)) for keys, values in read]
            mask = mask.index_select(place)
        return T5Memory(read, mask, Seats.of(pair), said)


class Seats(NamedTuple):
    """Where the rows of each pair sit side by side, so that they look at what is their pair's without a copy of it.

    Each pair has as many seats as the one with most rows; those left over repeat a row that nobody reads.
    """

    pair: np.ndarray  # [r]
    seat: Tensor  # [r], the seat of each row
    row: Tensor  # [n·m], the row in each seat

    @classmethod
    def of(cls, pair: np.ndarray) -> Seats:
        order = np.argsort(pair, kind="stable")
        count = np.bincount(pair)
        most = int(count.max(initial=0))
        seat = np.empty(len(pair), dtype="int64")
        seat[order] = np.arange(len(pair)) + (most * np.arange(len(count)) - (count.cumsum() - count))[pair[order]]
        row = np.zeros(len(count) * most, dtype="int64")
        row[seat] = np.arange(len(pair))
        return cls(pair, paddle.to_tensor(seat), paddle.to_tensor(row))


class T5(Language):
    """Encoder and decoder; the decoder starts with the pad token."""

    start = 0

    def __init__(self, sizes: T5Config) -> None:
        super().__init__()
        self.width, self.vocabulary = sizes.d_model, sizes.vocab_size
        self._scale = sizes.d_model**-0.5 if sizes.scales else None
        self.model = T5ForConditionalGeneration(
            PaddleNLPConfig(**vars(sizes), pad_token_id=0, eos_token_id=1, bos_token_id=0)
        )
        for layer in self.model.sublayers():
            for name, norm in layer.named_children():
                if isinstance(norm, T5LayerNorm):
                    setattr(layer, name, RootMeanSquareNorm(norm))

    @property
    def token_embedding(self) -> Tensor:
        return self.model.t5.shared.weight

    def embed(self, tokens: Tensor) -> Tensor:
        return self.model.t5.shared(tokens)

    def head(self, tokens: Tensor) -> Tensor:
        if self.model.t5.config.tie_word_embeddings:
            return self.embed(tokens)
        if isinstance(self.model.lm_head, FrozenLinear):
            return self.model.lm_head.channels(tokens)
        return self.model.lm_head.weight.index_select(tokens, axis=1).t()

    def encode(self, visual: Tensor, question: Tensor, question_mask: Tensor) -> T5Memory:
        encoder, mask = self.model.t5.encoder, _seen(visual.shape[1], question_mask)
        states = paddle.concat([visual, self.embed(question)], axis=1).astype("float32")
        shape = [len(states), encoder.config.num_heads, mask.shape[1], mask.shape[1]]
        bias = _distances(encoder, mask.shape[1]).expand(shape) + _hidden(mask).expand(shape)
        for block in encoder.block:
            reading, perceptron = block.layer
            normed = reading.layer_norm(states)
            states = _add(states, _attend(reading.SelfAttention, normed, _look(reading.SelfAttention, normed), bias))
            states = _think(perceptron, states)
        return self._remember(encoder.final_layer_norm(states), mask)

    def encode_shared(self, visual: Tensor, image_of_pair: Tensor, question: Tensor, question_mask: Tensor) -> T5Memory:
        encoder, q = self.model.t5.encoder, visual.shape[1]
        mask = _seen(q, question_mask)
        (n, t), h = question.shape, encoder.config.num_heads
        distances = _distances(encoder, q + t)
        among_visual = distances[:, :, :q, :q].expand([len(visual), h, q, q])
        from_words = distances[:, :, q:].expand([n, h, t, q + t]) + _hidden(mask).expand([n, h, t, q + t])
        seen, asked = visual.astype("float32"), self.embed(question)
        for block in encoder.block:
            reading, perceptron = block.layer
            attention = reading.SelfAttention
            image, words = reading.layer_norm(seen), reading.layer_norm(asked)
            of_image, of_words = _look(attention, image), _look(attention, words)
            keys, values = (
                paddle.concat([one.index_select(image_of_pair), other], axis=2)
                for one, other in zip(of_image, of_words, strict=True)
            )
            seen = _think(perceptron, _add(seen, _attend(attention, image, of_image, among_visual)))
            asked = _think(perceptron, _add(asked, _attend(attention, words, (keys, values), from_words)))
        both = paddle.concat([seen.index_select(image_of_pair), asked], axis=1)
        return self._remember(encoder.final_layer_norm(both), mask)

    def _remember(self, states: Tensor, mask: Tensor) -> T5Memory:
        """What the decoder needs of the encoder's states [n, p, w]."""
        return T5Memory([_look(block.layer[1].EncDecAttention, states) for block in self.model.t5.decoder.block], mask)

    def answer_logits(self, memory: T5Memory, answer: Tensor) -> Tensor:
        start = paddle.full([answer.shape[0], 1], self.start, dtype=answer.dtype)
        states, _ = self._say(memory, paddle.concat([start, answer[:, :-1]], axis=1))
        return self._logits(states, None)

    def step(self, memory: T5Memory, tokens: Tensor, head: Tensor | None = None) -> tuple[Tensor, T5Memory]:
        states, said = self._say(memory, tokens.unsqueeze(-1))
        return self._logits(states, head).squeeze(1), memory._replace(said=tuple(said))

    def _say(self, memory: T5Memory, tokens: Tensor) -> tuple[Tensor, list[KeysAndValues]]:
        """States [r, a, w] after each of `tokens` [r, a], and keys and values of all that was said."""
        decoder, seats, (r, a) = self.model.t5.decoder, memory.seats, tokens.shape
        before = memory.said[0][0].shape[2] if memory.said else 0
        bias = _distances(decoder, before + a, before)
        if a > 1:
            bias = bias + paddle.full([a, before + a], MASKED).triu(before + 1)
        bias = bias.expand([r, decoder.config.num_heads, a, before + a])
        n, p = memory.mask.shape
        asking = a if seats is None else a * len(seats.row) // n
        hidden = _hidden(memory.mask).expand([n, decoder.config.num_heads, asking, p])
        states, said = self.embed(tokens).astype("float32"), []
        for number, block in enumerate(decoder.block):
            saying, looking, perceptron = block.layer
            normed = saying.layer_norm(states)
            keys, values = _look(saying.SelfAttention, normed)
            if memory.said:
                earlier = memory.said[number]
                keys, values = paddle.concat([earlier[0], keys], axis=2), paddle.concat([earlier[1], values], axis=2)
            said.append((keys, values))
            states = _add(states, _attend(saying.SelfAttention, normed, (keys, values), bias))
            normed = looking.layer_norm(states)
            states = _add(states, _attend(looking.EncDecAttention, normed, memory.read[number], hidden, seats))
            states = _think(perceptron, states)
        return decoder.final_layer_norm(states), said

    def _logits(self, states: Tensor, head: Tensor | None) -> Tensor:
        if self._scale is not None:
            states = states * self._scale
        if head is not None:
            return paddle.matmul(states, head, transpose_y=True)
        if self.model.t5.config.tie_word_embeddings:
            return word_logits(self.model.t5.shared, states)
        return self.model.lm_head(states)


def _seen(queries: int, question_mask: Tensor) -> Tensor:
    """The mask [n, q + t] of visual tokens and question."""
    return paddle.concat([paddle.ones([len(question_mask), queries], dtype=question_mask.dtype), question_mask], axis=1)


def _hidden(mask: Tensor) -> Tensor:
    """What a mask [n, p] adds to scores: [n, 1, 1, p]."""
    return ((1.0 - mask.astype("float32")) * MASKED).unsqueeze([1, 2])


def _distances(stack: T5Stack, tokens: int, before: int = 0) -> Tensor:
    """What distances add to the scores of all but the first tokens for all tokens: [1, h, tokens - before, tokens]."""
    # PaddleNLP's first layer has it for all. A bias is expanded before it is added: within a tensor, the CPU's kernel
    # takes thirty times as long to broadcast (3.3.1).
    attention, most = stack.block[0].layer[0].SelfAttention, stack.config.relative_attention_max_distance
    bucket = _buckets(tokens, attention.relative_attention_num_buckets, most, not attention.is_decoder)[before:]
    return attention.relative_attention_bias(paddle.to_tensor(bucket)).transpose([2, 0, 1]).unsqueeze(0)


@lru_cache(maxsize=64)
def _buckets(tokens: int, buckets: int, most: int, both_ways: bool) -> np.ndarray:
    """Into which bucket the distance of each token to each falls [tokens, tokens]; `most` is the largest told apart."""
    place = paddle.arange(tokens)
    distance = place.unsqueeze(0) - place.unsqueeze(1)
    return T5Attention._relative_position_bucket(distance, both_ways, buckets, most).numpy()


def _look(attention: T5Attention, x: Tensor) -> KeysAndValues:
    """Keys and values [n, h, k, c] of tokens x [n, k, w]."""
    return _heads(attention, _product(x, attention.k)), _heads(attention, _product(x, attention.v))


def _heads(attention: T5Attention, x: Tensor) -> Tensor:
    """[n, k, h·c] → [n, h, k, c]."""
    if x.shape[1] == 1:  # nothing is moved, so nothing need be copied
        return x.reshape([0, attention.n_heads, 1, -1])
    return x.reshape([0, 0, attention.n_heads, -1]).transpose([0, 2, 1, 3])


def _attend(
    attention: T5Attention, x: Tensor, looked: KeysAndValues, bias: Tensor, seats: Seats | None = None
) -> Tensor:
    """What tokens x [r, a, w] read from keys and values [n, h, k, c] under a bias on the scores [n, h, m·a, k], where
    each row has its own or, by its seat, those of its pair."""
    (r, a, _), asked, (keys, values) = x.shape, _product(x, attention.q), looked
    if seats is not None:
        asked = asked.flatten(1).index_select(seats.row).reshape([len(keys), -1, asked.shape[-1]])
    scores = paddle.matmul(_heads(attention, asked), keys, transpose_y=True) + bias  # T5 does not scale them
    read = paddle.matmul(nn.functional.softmax(scores, axis=-1), values)
    if read.shape[2] > 1:
        read = read.transpose([0, 2, 1, 3])
    if seats is not None:
        read = read.reshape([len(seats.row), -1]).index_select(seats.seat)
    return _product(read.reshape([r, a, -1]), attention.o)


def _think(perceptron: T5LayerFF, x: Tensor) -> Tensor:
    dense, normed = perceptron.DenseReluDense, perceptron.layer_norm(x)
    if isinstance(dense, T5DenseReluDense):
        wide = nn.functional.relu(_product(normed, dense.wi))
    else:
        activate = nn.functional.silu if isinstance(dense, T5DenseGatedSiluDense) else tanh_gelu
        wide = activate(_product(normed, dense.wi_0)) * _product(normed, dense.wi_1)
    return _add(x, _product(wide, dense.wo))


def _product(x: Tensor, layer: nn.Linear | FrozenLinear) -> Tensor:
    """A linear layer without bias. Small models feel how long `nn.Linear` takes to find out which kernel it has."""
    return layer(x) if isinstance(layer, FrozenLinear) else paddle.matmul(x, layer.weight)


def _add(x: Tensor, more: Tensor) -> Tensor:
    """The sum, in float32; what was too large for float16 counts as the largest number there."""
    if more.dtype == paddle.float32:
        return x + more
    wide = more.astype("float32")
    return x + (wide.clip(-_LARGEST, _LARGEST) if more.dtype == paddle.float16 else wide)


class RootMeanSquareNorm(nn.Layer):
    """T5's norm with the weight of PaddleNLP's, by products with vectors, which a CPU computes four times as fast."""

    def __init__(self, norm: T5LayerNorm) -> None:
        super().__init__()
        self.weight = norm.weight
        self.epsilon = norm.variance_epsilon
        width = norm.weight.shape[0]
        self._share = paddle.full([width, 1], 1.0 / width)

    def forward(self, x: Tensor) -> Tensor:
        # With products, autocast would compute it in half precision, and more is kept for the backward pass.
        if amp_state() or paddle.is_grad_enabled():
            return self.weight * (x * paddle.rsqrt(paddle.square(x).mean(-1, keepdim=True) + self.epsilon))
        mean = paddle.matmul(paddle.square(x), self._share)
        return x * paddle.matmul(paddle.rsqrt(mean + self.epsilon), self.weight.unsqueeze(0))
