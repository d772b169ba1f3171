"""T5 with the weights of PaddleNLP's (Raffel et al. 2020): its encoder reads visual tokens and question.

i images, n pairs, r rows (answers that are being decoded), h heads, c channels of a head, q visual tokens, t question
tokens, p = q + t tokens of a pair, a answer tokens, s answer tokens so far, m rows of a pair, w width, v vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import paddle
from paddle import Tensor

from imageclef_vqa.models.activations import ACTIVATIONS
from imageclef_vqa.models.attention import MASKED
from imageclef_vqa.models.configs import T5Config
from imageclef_vqa.models.dropout import drop
from imageclef_vqa.models.language.frozen import FrozenLinear, token_logits
from imageclef_vqa.models.language.interface import Language
from imageclef_vqa.models.language.paddlenlp import T5Config as PaddleNLPConfig
from imageclef_vqa.models.language.paddlenlp import T5ForConditionalGeneration, T5LayerNorm
from imageclef_vqa.models.language.t5_layers import (
    KeysAndValues,
    RootMeanSquareNorm,
    Slots,
    add,
    attend,
    keys_and_values,
    mask_bias,
    mlp,
    relative_bias,
)

_KINDS = ("relu", "gated-gelu", "gated-silu")  # PaddleNLP's


class T5Memory(NamedTuple):
    """Keys and values of each pair for the decoder's cross-attention, and of each row for its self-attention.

    The rows of a pair share its keys and values: each row adds only those of its own answer.
    """

    cross_kv: list[KeysAndValues]  # [n, h, p, c] for each layer, of the encoder's states
    mask: Tensor  # [n, p], 0 at padding
    slots: Slots | None = None  # of the rows; None: one row per pair, in their order
    answer_kv: tuple[KeysAndValues, ...] = ()  # [r, h, s, c] for each layer; empty before the first step

    def rows(self, rows: Tensor) -> T5Memory:
        answer_kv = tuple((keys.index_select(rows), values.index_select(rows)) for keys, values in self.answer_kv)
        pair = rows.numpy() if self.slots is None else self.slots.pair[rows.numpy()]
        left, pair = np.unique(pair, return_inverse=True)
        cross_kv, mask = self.cross_kv, self.mask
        if len(left) < len(mask):  # forget pairs whose answers are complete
            kept = paddle.to_tensor(left)
            cross_kv = [(keys.index_select(kept), values.index_select(kept)) for keys, values in cross_kv]
            mask = mask.index_select(kept)
        return T5Memory(cross_kv, mask, Slots.of(pair), answer_kv)


class T5(Language):
    """Encoder and decoder; the decoder starts with the pad token."""

    start = 0
    answer_reads = ("answer", "prefix")

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.width, self.vocabulary = config.d_model, config.vocab_size
        self._scale = config.d_model**-0.5 if config.scales else None
        self._activate = ACTIVATIONS[config.activation]
        # PaddleNLP knows three kinds of MLP, of which only the weights are used.
        kind = config.feed_forward_proj if config.feed_forward_proj in _KINDS else _KINDS[config.gated]
        sizes = {**vars(config), "feed_forward_proj": kind}
        self.model = T5ForConditionalGeneration(
            PaddleNLPConfig(**sizes, pad_token_id=0, eos_token_id=1, bos_token_id=0)
        )
        for layer in self.model.sublayers():
            for name, norm in layer.named_children():
                if isinstance(norm, T5LayerNorm):
                    setattr(layer, name, RootMeanSquareNorm(norm))
        self._dropout_rate = config.dropout_rate

    @property
    def token_embedding(self) -> Tensor:
        return self.model.t5.shared.weight

    def embed(self, tokens: Tensor) -> Tensor:
        return self.model.t5.shared(tokens)

    def head(self, tokens: Tensor) -> Tensor:
        if self.model.t5.config.tie_word_embeddings:
            return self.embed(tokens)
        if isinstance(self.model.lm_head, FrozenLinear):
            return self.model.lm_head.output_weights(tokens)
        return self.model.lm_head.weight.index_select(tokens, axis=1).t()

    def encode(self, visual: Tensor, question: Tensor, question_mask: Tensor) -> T5Memory:
        encoder, mask = self.model.t5.encoder, _pair_mask(visual.shape[1], question_mask)
        states = self._drop(paddle.concat([visual, self.embed(question)], axis=1).astype("float32"))
        shape = [len(states), encoder.config.num_heads, mask.shape[1], mask.shape[1]]
        bias = relative_bias(encoder, mask.shape[1]).expand(shape) + mask_bias(mask).expand(shape)
        for block in encoder.block:
            self_attention, feed_forward = block.layer
            attention, normed = self_attention.SelfAttention, self_attention.layer_norm(states)
            attended = attend(attention, normed, keys_and_values(attention, normed), bias)
            states = add(states, self._drop(attended))
            states = add(states, self._drop(mlp(feed_forward, states, self._activate)))
        return self._memory(encoder.final_layer_norm(states), mask)

    def encode_shared(self, visual: Tensor, image_of_pair: Tensor, question: Tensor, question_mask: Tensor) -> T5Memory:
        encoder, q = self.model.t5.encoder, visual.shape[1]
        mask = _pair_mask(q, question_mask)
        (n, t), h = question.shape, encoder.config.num_heads
        bias = relative_bias(encoder, q + t)
        visual_bias = bias[:, :, :q, :q].expand([len(visual), h, q, q])
        question_bias = bias[:, :, q:].expand([n, h, t, q + t]) + mask_bias(mask).expand([n, h, t, q + t])
        x, y = visual.astype("float32"), self._drop(self.embed(question))  # [i, q, w], [n, t, w]
        for block in encoder.block:
            self_attention, feed_forward = block.layer
            attention = self_attention.SelfAttention
            x_normed, y_normed = self_attention.layer_norm(x), self_attention.layer_norm(y)
            x_kv, y_kv = keys_and_values(attention, x_normed), keys_and_values(attention, y_normed)
            keys, values = (
                paddle.concat([of_image.index_select(image_of_pair), of_question], axis=2)
                for of_image, of_question in zip(x_kv, y_kv, strict=True)
            )
            x = add(x, attend(attention, x_normed, x_kv, visual_bias))
            x = add(x, mlp(feed_forward, x, self._activate))
            y = add(y, self._drop(attend(attention, y_normed, (keys, values), question_bias)))
            y = add(y, self._drop(mlp(feed_forward, y, self._activate)))
        both = paddle.concat([x.index_select(image_of_pair), y], axis=1)
        return self._memory(encoder.final_layer_norm(both), mask)

    def _memory(self, states: Tensor, mask: Tensor) -> T5Memory:
        """The memory of the encoder's states [n, p, w]."""
        blocks = self.model.t5.decoder.block
        return T5Memory([keys_and_values(block.layer[1].EncDecAttention, states) for block in blocks], mask)

    def answer_logits(self, memory: T5Memory, answer: Tensor) -> Tensor:
        start = paddle.full([answer.shape[0], 1], self.start, dtype=answer.dtype)
        states, _ = self._decode(memory, paddle.concat([start, answer[:, :-1]], axis=1))
        return self._logits(states, None)

    def step(self, memory: T5Memory, tokens: Tensor, head: Tensor | None = None) -> tuple[Tensor, T5Memory]:
        states, answer_kv = self._decode(memory, tokens.unsqueeze(-1))
        return self._logits(states, head).squeeze(1), memory._replace(answer_kv=tuple(answer_kv))

    def _decode(self, memory: T5Memory, tokens: Tensor) -> tuple[Tensor, list[KeysAndValues]]:
        """States [r, a, w] after each of `tokens` [r, a]; keys and values of all answer tokens so far."""
        decoder, slots, (r, a) = self.model.t5.decoder, memory.slots, tokens.shape
        s = memory.answer_kv[0][0].shape[2] if memory.answer_kv else 0
        self_bias = relative_bias(decoder, s + a, s)
        if a > 1:
            self_bias = self_bias + paddle.full([a, s + a], MASKED).triu(s + 1)
        self_bias = self_bias.expand([r, decoder.config.num_heads, a, s + a])
        n, p = memory.mask.shape
        queries = a if slots is None else a * len(slots.row) // n
        cross_bias = mask_bias(memory.mask).expand([n, decoder.config.num_heads, queries, p])
        states, answer_kv = self._drop(self.embed(tokens).astype("float32")), []
        for index, block in enumerate(decoder.block):
            self_attention, cross_attention, feed_forward = block.layer
            normed = self_attention.layer_norm(states)
            kv = keys_and_values(self_attention.SelfAttention, normed)
            if memory.answer_kv:
                earlier_keys, earlier_values = memory.answer_kv[index]
                kv = paddle.concat([earlier_keys, kv[0]], axis=2), paddle.concat([earlier_values, kv[1]], axis=2)
            answer_kv.append(kv)
            states = add(states, self._drop(attend(self_attention.SelfAttention, normed, kv, self_bias)))
            normed, cross_kv = cross_attention.layer_norm(states), memory.cross_kv[index]
            attended = attend(cross_attention.EncDecAttention, normed, cross_kv, cross_bias, slots)
            states = add(states, self._drop(attended))
            states = add(states, self._drop(mlp(feed_forward, states, self._activate)))
        return decoder.final_layer_norm(states), answer_kv

    def _drop(self, x: Tensor) -> Tensor:
        """Dropout on x [n, t, w] in training: a row drops the same channels of all its tokens (Gal & Ghahramani 2016).

        Its random numbers then do not depend on how far the rows are padded.
        """
        if not self.training or not self._dropout_rate:
            return x
        return x * drop(paddle.ones([len(x), 1, self.width]), self._dropout_rate)

    def _logits(self, states: Tensor, head: Tensor | None) -> Tensor:
        if self._scale is not None:
            states = states * self._scale
        if head is not None:
            return paddle.matmul(states, head, transpose_y=True)
        if self.model.t5.config.tie_word_embeddings:
            return token_logits(self.model.t5.shared, states)
        return self.model.lm_head(states)


def _pair_mask(queries: int, question_mask: Tensor) -> Tensor:
    """The mask [n, q + t] of visual tokens and question."""
    return paddle.concat([paddle.ones([len(question_mask), queries], dtype=question_mask.dtype), question_mask], axis=1)
