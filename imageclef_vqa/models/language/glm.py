"""ChatGLM-6B from PaddleNLP: a decoder whose prefix sees itself whole (GLM: Du et al. 2022).

    visual tokens, question, [gMASK]  │  <sop>, answer
    all see all of this side          │  sees the prefix and earlier answer tokens

A token has two positions. The first counts along the prefix; every answer token has that of [gMASK], the gap that it
fills (in the first edition, it counts on). The second is 0 in the prefix and counts from 1 in the answer. The prefix
never sees the answer, so `encode` computes its keys and values once, and every answer uses them.

i images, n pairs, q visual tokens, t question tokens, a answer tokens, p = q + t + 1 prefix tokens, s answer tokens so
far, r rows (answers that are being decoded), h heads, c channels of a head, w width, v vocabulary.
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

import paddle
from paddle import Tensor, nn

from imageclef_vqa.models.attention import trace
from imageclef_vqa.models.configs import GLMConfig
from imageclef_vqa.models.language.frozen import token_logits
from imageclef_vqa.models.language.interface import Language
from imageclef_vqa.models.language.paddlenlp import ChatGLMConfig, ChatGLMModel

# Keys and values of one layer, tokens first as PaddleNLP has them: [tokens, n, h, c].
KeysAndValues = tuple[Tensor, Tensor]


class GLMMemory(NamedTuple):
    """Keys and values of each pair's prefix and of each row's answer.

    The rows of a pair share its prefix: each row adds only its own answer.
    """

    prefix_kv: list[KeysAndValues]  # [p, n, h, c] for each layer
    visible: Tensor  # bool [n, p]: not padding
    gap: Tensor  # [n], the first position of [gMASK]
    pair: Tensor | None  # [r], the pair of each row; None: one row per pair, in their order
    answer_kv: list[KeysAndValues]  # [s, r, h, c] for each layer; empty before the first step

    def rows(self, rows: Tensor) -> GLMMemory:
        answer_kv = [(k.index_select(rows, axis=1), v.index_select(rows, axis=1)) for k, v in self.answer_kv]
        pair = rows if self.pair is None else self.pair.index_select(rows)
        return self._replace(pair=pair, answer_kv=answer_kv)

    def of_row(self, of_pair: Tensor, axis: int = 0) -> Tensor:
        """A tensor with one entry per pair → with one entry per row."""
        return of_pair if self.pair is None else of_pair.index_select(self.pair, axis=axis)

    def past(self, layer: int) -> KeysAndValues:
        """Keys and values [p + s, r, h, c] of one layer, concatenated only when that layer runs."""
        keys, values = (self.of_row(part, axis=1) for part in self.prefix_kv[layer])
        if not self.answer_kv:
            return keys, values
        return paddle.concat([keys, self.answer_kv[layer][0]]), paddle.concat([values, self.answer_kv[layer][1]])


class GLM(Language):
    """`model` has the tensor names of ChatGLM-6B's checkpoint; its head is the token embedding."""

    answer_reads = ("both",)
    pairs_axis = 1

    def __init__(self, config: GLMConfig) -> None:
        super().__init__()
        self.width, self.vocabulary, self.start = config.hidden_size, config.vocab_size, config.bos_token_id
        self._gap, self._counts_on = config.gmask_token_id, config.answer_positions == "next"
        self.model = ChatGLMModel(ChatGLMConfig(**vars(config), num_hidden_layers=config.num_layers))
        for block in self.model.transformer.layers:
            # Residuals are scaled for as many layers as ChatGLM-6B has, whatever their number (`GLMBlock`).
            block.config = copy(block.config)
            block.config.num_hidden_layers = GLMConfig.num_layers
            block.attention.register_forward_post_hook(lambda layer, inputs, outputs: _traced(outputs))
        for layer in self.model.sublayers():
            for name, norm in layer.named_children():
                if isinstance(norm, nn.LayerNorm):
                    setattr(layer, name, Norm(norm))

    @property
    def token_embedding(self) -> Tensor:
        return self.model.transformer.word_embeddings.weight

    def embed(self, tokens: Tensor) -> Tensor:
        return self.model.transformer.word_embeddings(tokens)

    def head(self, tokens: Tensor) -> Tensor:
        return self.embed(tokens)

    def encode(self, visual: Tensor, question: Tensor, question_mask: Tensor) -> GLMMemory:
        inputs = paddle.concat([visual, self._embed_question(question)], axis=1)  # [n, p, w]
        position, visible = _prefix(visual.shape[1], question_mask)
        all_to_all = visible.unsqueeze(1).expand([*visible.shape, visible.shape[1]])
        _, prefix_kv = self._run(inputs, _prefix_positions(position), all_to_all, None)
        return GLMMemory(prefix_kv, visible, position[:, -1], None, [])

    def encode_shared(
        self, visual: Tensor, image_of_pair: Tensor, question: Tensor, question_mask: Tensor
    ) -> GLMMemory:
        i, q = visual.shape[:2]
        visual_position = paddle.arange(q).expand([i, q])
        among_visual = paddle.ones([i, q, q], dtype="bool")
        _, visual_kv = self._run(visual, _prefix_positions(visual_position), among_visual, None)
        image = GLMMemory(visual_kv, paddle.ones([i, q], dtype="bool"), visual_position[:, -1], image_of_pair, [])
        inputs = self._embed_question(question)  # [n, t + 1, w]
        position, visible = _prefix(q, question_mask)
        question_to_all = visible.unsqueeze(1).expand([visible.shape[0], inputs.shape[1], visible.shape[1]])
        _, prefix_kv = self._run(inputs, _prefix_positions(position[:, q:]), question_to_all, image)
        return GLMMemory(prefix_kv, visible, position[:, -1], None, [])

    def _embed_question(self, question: Tensor) -> Tensor:
        """Embeddings [n, t + 1, w] of the question and [gMASK]."""
        gap = paddle.full([question.shape[0], 1], self._gap, dtype=question.dtype)
        return self.embed(paddle.concat([question, gap], axis=1))

    def answer_logits(self, memory: GLMMemory, answer: Tensor) -> Tensor:
        start = paddle.full([answer.shape[0], 1], self.start, dtype=answer.dtype)
        states, _ = self._decode(memory, paddle.concat([start, answer[:, :-1]], axis=1))
        return self._logits(states, None)

    def step(self, memory: GLMMemory, tokens: Tensor, head: Tensor | None = None) -> tuple[Tensor, GLMMemory]:
        states, answer_kv = self._decode(memory, tokens.unsqueeze(-1))
        return self._logits(states, head).squeeze(1), memory._replace(answer_kv=answer_kv)

    def _logits(self, states: Tensor, head: Tensor | None) -> Tensor:
        if head is not None:
            return paddle.matmul(states, head, transpose_y=True)
        return token_logits(self.model.transformer.word_embeddings, states)

    def _decode(self, memory: GLMMemory, tokens: Tensor) -> tuple[Tensor, list[KeysAndValues]]:
        """States [r, a, w] after each of `tokens` [r, a]; keys and values of all answer tokens so far."""
        r, a = tokens.shape
        s = memory.answer_kv[0][0].shape[0] if memory.answer_kv else 0
        in_answer = paddle.arange(s + 1, s + a + 1).expand([r, a])
        gap = memory.of_row(memory.gap).unsqueeze(-1).expand([r, a])
        first = gap + in_answer if self._counts_on else gap
        prefix = memory.of_row(memory.visible).unsqueeze(1)  # [r, 1, p]
        earlier = paddle.ones([a, s + a], dtype="int32").tril(s).astype("bool")
        visible = paddle.concat([prefix.expand([r, a, -1]), earlier.expand([r, a, s + a])], axis=-1)
        states, all_kv = self._run(self.embed(tokens), paddle.stack([first, in_answer], axis=1), visible, memory)
        p = prefix.shape[-1]
        return states, [(keys[p:], values[p:]) for keys, values in all_kv]

    def _run(
        self, inputs: Tensor, positions: Tensor, visible: Tensor, memory: GLMMemory | None
    ) -> tuple[Tensor, list[KeysAndValues]]:
        """States [n, t, w] of `inputs` [n, t, w] at `positions` [n, 2, t], and all keys and values.

        `visible` (bool [n, t, k]) is the mask over the k keys, those of `memory` first.
        """
        stack = self.model.transformer
        rotations = stack.rotary_embeddings(positions)
        lowest = paddle.full_like(visible, paddle.finfo(inputs.dtype).min, dtype=inputs.dtype)
        mask = paddle.where(visible, paddle.zeros_like(lowest), lowest).unsqueeze(1)
        states, all_kv = inputs.transpose([1, 0, 2]), []
        for index, layer in enumerate(stack.layers):
            past = memory.past(index) if memory is not None else None
            states, layer_kv = layer(states, mask, positions, use_cache=True, cache=past, rotary_embeds=rotations)
            all_kv.append(layer_kv)
        return stack.final_layernorm(states).transpose([1, 0, 2]), all_kv


def _traced(outputs: tuple[Tensor, ...]) -> None:
    """Keep what PaddleNLP's attention returns last: its weights [n·h, t, k]."""
    trace(outputs[-1])


def _prefix(queries: int, question_mask: Tensor) -> tuple[Tensor, Tensor]:
    """The first position of each prefix token [n, p], and whether it is a token: bool [n, p]."""
    n = question_mask.shape[0]
    mask = paddle.concat([paddle.ones([n, queries]), question_mask.astype("float32"), paddle.ones([n, 1])], axis=1)
    position = (mask.cumsum(axis=1).astype("int64") - 1).clip(min=0)  # padding also has one, but is masked
    return position, mask.astype("bool")


def _prefix_positions(position: Tensor) -> Tensor:
    """Both positions [n, 2, t] of prefix tokens, from the first [n, t]."""
    return paddle.stack([position, paddle.zeros_like(position)], axis=1)


class Norm(nn.Layer):
    """A layer norm that may be frozen: with a weight that is not trained, Paddle's own silently passes a wrong gradient
    to its input (3.3.1, on the CPU)."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.epsilon = norm.weight, norm.bias, norm._epsilon

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, x.shape[-1:], epsilon=self.epsilon) * self.weight + self.bias
