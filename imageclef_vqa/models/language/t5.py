"""T5 from PaddleNLP (Raffel et al. 2020), which reads visual tokens and question in its encoder.

i images, n pairs, h heads, c channels of a head, q visual tokens, t question tokens, a answer tokens, w width,
v vocabulary.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import paddle
from paddle import Tensor, nn
from paddlenlp.transformers import T5Config as PaddleNLPConfig
from paddlenlp.transformers import T5ForConditionalGeneration
from paddlenlp.transformers.t5.modeling import T5Attention, T5LayerNorm

from imageclef_vqa.models.attention import HIDDEN
from imageclef_vqa.models.language.frozen import word_logits
from imageclef_vqa.models.language.interface import Language
from imageclef_vqa.models.presets import T5Config


class T5Memory(NamedTuple):
    """What the encoder made of visual tokens and question, states [n, q + t, w] and their mask [n, q + t]; and the
    decoder's keys and values, four tensors [n, heads, tokens, channels] a layer."""

    states: Tensor
    mask: Tensor
    cache: list[tuple[Tensor, ...]] | None = None

    def rows(self, rows: Tensor) -> T5Memory:
        cache = self.cache and [tuple(part.index_select(rows) for part in layer) for layer in self.cache]
        return T5Memory(self.states.index_select(rows), self.mask.index_select(rows), cache)


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
            if isinstance(layer, T5Attention):  # PaddleNLP's does not read this size
                bucket = partial(
                    T5Attention._relative_position_bucket, max_distance=sizes.relative_attention_max_distance
                )
                layer._relative_position_bucket = bucket
            for name, norm in layer.named_children():
                if isinstance(norm, T5LayerNorm):
                    setattr(layer, name, RootMeanSquareNorm(norm))

    @property
    def words(self) -> Tensor:
        return self.model.t5.shared.weight

    def embed(self, tokens: Tensor) -> Tensor:
        return self.model.t5.shared(tokens)

    def encode(self, visual: Tensor, question: Tensor, question_mask: Tensor) -> T5Memory:
        mask = paddle.concat([paddle.ones(visual.shape[:2], dtype=question_mask.dtype), question_mask], axis=1)
        inputs = paddle.concat([visual, self.embed(question)], axis=1)
        states = self.model.t5.encoder(inputs_embeds=inputs, attention_mask=mask, return_dict=True).last_hidden_state
        return T5Memory(states, mask)

    def encode_shared(self, visual: Tensor, image_of_pair: Tensor, question: Tensor, question_mask: Tensor) -> T5Memory:
        encoder, q = self.model.t5.encoder, visual.shape[1]
        mask = paddle.concat([paddle.ones([len(question), q], dtype=question_mask.dtype), question_mask], axis=1)
        hidden = (1.0 - mask.astype("float32")).unsqueeze([1, 2]) * HIDDEN
        # [1, h, q + t, q + t], by the distance of two tokens; PaddleNLP's first layer has it for all.
        bias = encoder.block[0].layer[0].SelfAttention.compute_bias(mask.shape[1], mask.shape[1])
        seen, asked = visual, self.embed(question)
        for block in encoder.block:
            reading, perceptron = block.layer
            attention = reading.SelfAttention
            image, words = reading.layer_norm(seen), reading.layer_norm(asked)
            keys, values = attention.k(image), attention.v(image)
            seen = perceptron(seen + _attend(attention, image, keys, values, bias[:, :, :q, :q]))
            keys = paddle.concat([keys.index_select(image_of_pair), attention.k(words)], axis=1)
            values = paddle.concat([values.index_select(image_of_pair), attention.v(words)], axis=1)
            asked = perceptron(asked + _attend(attention, words, keys, values, bias[:, :, q:] + hidden))
        both = paddle.concat([seen.index_select(image_of_pair), asked], axis=1)
        return T5Memory(encoder.final_layer_norm(both), mask)

    def answer_logits(self, memory: T5Memory, answer: Tensor) -> Tensor:
        start = paddle.full([answer.shape[0], 1], self.start, dtype=answer.dtype)
        logits, _ = self._decode(memory, paddle.concat([start, answer[:, :-1]], axis=1))
        return logits

    def step(self, memory: T5Memory, tokens: Tensor) -> tuple[Tensor, T5Memory]:
        logits, cache = self._decode(memory, tokens.unsqueeze(-1), use_cache=True)
        return logits[:, -1], memory._replace(cache=cache)

    def _decode(self, memory: T5Memory, tokens: Tensor, use_cache: bool = False) -> tuple[Tensor, list]:
        decoded = self.model.t5.decoder(
            input_ids=tokens,
            encoder_hidden_states=memory.states,
            encoder_attention_mask=memory.mask,
            cache=memory.cache,
            use_cache=use_cache,
            return_dict=True,
        )
        states = decoded.last_hidden_state
        if self._scale is not None:
            states = states * self._scale
        if self.model.t5.config.tie_word_embeddings:
            logits = word_logits(self.model.t5.shared, states)
        else:
            logits = self.model.lm_head(states)
        return logits, decoded.past_key_values


def _attend(attention: T5Attention, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """What tokens x [n, t, w] read from keys and values [n, k, h·c] under a bias on the scores [n or 1, h, t, k]."""
    q, k, v = (
        part.reshape([0, 0, attention.n_heads, -1]).transpose([0, 2, 1, 3]) for part in (attention.q(x), keys, values)
    )
    weights = nn.functional.softmax(paddle.matmul(q, k, transpose_y=True) + bias, axis=-1)  # T5 does not scale them
    return attention.o(paddle.matmul(weights, v).transpose([0, 2, 1, 3]).reshape([0, 0, -1]))


class RootMeanSquareNorm(nn.Layer):
    """T5's norm with the weight of PaddleNLP's, whose `pow` takes a third of a small model's time on the CPU."""

    def __init__(self, norm: T5LayerNorm) -> None:
        super().__init__()
        self.weight = norm.weight
        self.epsilon = norm.variance_epsilon

    def forward(self, x: Tensor) -> Tensor:
        wide = x.astype("float32")
        normed = wide * paddle.rsqrt(paddle.square(wide).mean(-1, keepdim=True) + self.epsilon)
        return self.weight * normed.astype(self.weight.dtype)
