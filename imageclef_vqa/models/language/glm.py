"""ChatGLM-6B from PaddleNLP: a decoder whose prefix sees itself whole (GLM: Du et al. 2022).

    visual tokens, question, [gMASK]  │  <sop>, answer
    all see all of this side          │  sees the prefix and what was said before

A token has two positions. The first counts along the prefix, and everything that is said stands at that of [gMASK],
the gap that it fills; the second is 0 in the prefix and counts from 1 in what is said. The prefix never sees the
answer, so its keys and values are made once, in `encode`, and serve every answer.

i images, n pairs, q visual tokens, t question tokens, a answer tokens, p = q + t + 1 prefix tokens, s tokens said
before, r rows, h heads, c channels of a head, w width, v vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import paddle
from paddle import Tensor, nn

from imageclef_vqa.models.configs import GLMConfig
from imageclef_vqa.models.language.frozen import word_logits
from imageclef_vqa.models.language.interface import Language
from imageclef_vqa.models.language.paddlenlp import ChatGLMConfig, ChatGLMModel

# Keys and values of one layer, tokens first as PaddleNLP has them: [tokens, n, h, c].
KeysAndValues = tuple[Tensor, Tensor]


class GLMMemory(NamedTuple):
    """Keys and values of each pair's prefix, and of what each row has said.

    Rows share their pair's prefix: an answer under way costs only what it has said.
    """

    prefix: list[KeysAndValues]  # [p, n, h, c] a layer
    visible: Tensor  # bool [n, p]: no padding
    gap: Tensor  # [n], the first position of [gMASK]
    pair: Tensor | None  # [r], the pair of each row; None: one row a pair, in their order
    said: list[KeysAndValues]  # [s, r, h, c] a layer; empty before the first step

    def rows(self, rows: Tensor) -> GLMMemory:
        said = [(keys.index_select(rows, axis=1), values.index_select(rows, axis=1)) for keys, values in self.said]
        return self._replace(pair=rows if self.pair is None else self.pair.index_select(rows), said=said)

    def of_row(self, of_pair: Tensor, axis: int = 0) -> Tensor:
        """What each row has of its pair."""
        return of_pair if self.pair is None else of_pair.index_select(self.pair, axis=axis)

    def past(self, layer: int) -> KeysAndValues:
        """Keys and values [p + s, r, h, c] of one layer, made when that layer needs them."""
        keys, values = (self.of_row(part, axis=1) for part in self.prefix[layer])
        if not self.said:
            return keys, values
        return paddle.concat([keys, self.said[layer][0]]), paddle.concat([values, self.said[layer][1]])


class GLM(Language):
    """The names of `model` are those of ChatGLM-6B's checkpoint; its head is the embedding of the words."""

    def __init__(self, sizes: GLMConfig) -> None:
        super().__init__()
        self.width, self.vocabulary, self.start = sizes.hidden_size, sizes.vocab_size, sizes.bos_token_id
        self._gap = sizes.gmask_token_id
        self.model = ChatGLMModel(ChatGLMConfig(**vars(sizes), num_hidden_layers=sizes.num_layers))
        for layer in self.model.sublayers():
            for name, norm in layer.named_children():
                if isinstance(norm, nn.LayerNorm):
                    setattr(layer, name, Norm(norm))

    @property
    def token_embedding(self) -> Tensor:
        return self.model.transformer.word_embeddings.weight

    def embed(self, tokens: Tensor) -> Tensor:
        return self.model.transformer.word_embeddings(tokens)

    def encode(self, visual: Tensor, question: Tensor, question_mask: Tensor) -> GLMMemory:
        inputs = paddle.concat([visual, self._ask(question)], axis=1)  # [n, p, w]
        place, visible = _prefix(visual.shape[1], question_mask)
        everywhere = visible.unsqueeze(1).expand([*visible.shape, visible.shape[1]])
        _, prefix = self._run(inputs, _in_prefix(place), everywhere, None)
        return GLMMemory(prefix, visible, place[:, -1], None, [])

    def encode_shared(
        self, visual: Tensor, image_of_pair: Tensor, question: Tensor, question_mask: Tensor
    ) -> GLMMemory:
        i, q = visual.shape[:2]
        alone = paddle.arange(q).expand([i, q])
        _, seen = self._run(visual, _in_prefix(alone), paddle.ones([i, q, q], dtype="bool"), None)
        inputs = self._ask(question)  # [n, t + 1, w]
        place, visible = _prefix(q, question_mask)
        everywhere = visible.unsqueeze(1).expand([visible.shape[0], inputs.shape[1], visible.shape[1]])
        of_image = GLMMemory(seen, paddle.ones([i, q], dtype="bool"), alone[:, -1], image_of_pair, [])
        _, prefix = self._run(inputs, _in_prefix(place[:, q:]), everywhere, of_image)
        return GLMMemory(prefix, visible, place[:, -1], None, [])

    def _ask(self, question: Tensor) -> Tensor:
        """Embeddings [n, t + 1, w] of the question and [gMASK]."""
        gap = paddle.full([question.shape[0], 1], self._gap, dtype=question.dtype)
        return self.embed(paddle.concat([question, gap], axis=1))

    def answer_logits(self, memory: GLMMemory, answer: Tensor) -> Tensor:
        start = paddle.full([answer.shape[0], 1], self.start, dtype=answer.dtype)
        states, _ = self._say(memory, paddle.concat([start, answer[:, :-1]], axis=1))
        return self._logits(states, None)

    def head(self, tokens: Tensor) -> Tensor:
        return self.embed(tokens)

    def step(self, memory: GLMMemory, tokens: Tensor, head: Tensor | None = None) -> tuple[Tensor, GLMMemory]:
        states, said = self._say(memory, tokens.unsqueeze(-1))
        return self._logits(states, head).squeeze(1), memory._replace(said=said)

    def _logits(self, states: Tensor, head: Tensor | None) -> Tensor:
        if head is not None:
            return paddle.matmul(states, head, transpose_y=True)
        return word_logits(self.model.transformer.word_embeddings, states)

    def _say(self, memory: GLMMemory, tokens: Tensor) -> tuple[Tensor, list[KeysAndValues]]:
        """States [r, a, w] after each of `tokens` [r, a], and keys and values of all that was said."""
        r, a = tokens.shape
        before = memory.said[0][0].shape[0] if memory.said else 0
        along = paddle.arange(before + 1, before + a + 1).expand([r, a])
        gap = memory.of_row(memory.gap).unsqueeze(-1).expand([r, a])
        prefix = memory.of_row(memory.visible).unsqueeze(1)  # [r, 1, p]
        earlier = paddle.ones([a, before + a], dtype="int32").tril(before).astype("bool")
        visible = paddle.concat([prefix.expand([r, a, -1]), earlier.expand([r, a, before + a])], axis=-1)
        states, both = self._run(self.embed(tokens), paddle.stack([gap, along], axis=1), visible, memory)
        p = prefix.shape[-1]
        said = [(keys[p:], values[p:]) for keys, values in both]
        return states, said

    def _run(
        self, inputs: Tensor, positions: Tensor, visible: Tensor, memory: GLMMemory | None
    ) -> tuple[Tensor, list[KeysAndValues]]:
        """States [n, t, w] of `inputs` [n, t, w] at `positions` [n, 2, t]; `visible` (bool [n, t, k]) says which of
        the k keys, those of `memory` first, each of them sees. Also all keys and values."""
        stack = self.model.transformer
        rotations = stack.rotary_embeddings(positions)
        hidden = paddle.full_like(visible, paddle.finfo(inputs.dtype).min, dtype=inputs.dtype)
        mask = paddle.where(visible, paddle.zeros_like(hidden), hidden).unsqueeze(1)
        states, made = inputs.transpose([1, 0, 2]), []
        for number, layer in enumerate(stack.layers):
            past = memory.past(number) if memory is not None else None
            states, keys_and_values = layer(
                states, mask, positions, use_cache=True, cache=past, rotary_embeds=rotations
            )
            made.append(keys_and_values)
        return stack.final_layernorm(states).transpose([1, 0, 2]), made


def _prefix(queries: int, question_mask: Tensor) -> tuple[Tensor, Tensor]:
    """The first position of each prefix token [n, p], and whether it is one, bool [n, p]."""
    n = question_mask.shape[0]
    seen = paddle.concat([paddle.ones([n, queries]), question_mask.astype("float32"), paddle.ones([n, 1])], axis=1)
    place = (seen.cumsum(axis=1).astype("int64") - 1).clip(min=0)  # padding has one too, but nobody sees it
    return place, seen.astype("bool")


def _in_prefix(place: Tensor) -> Tensor:
    """Both positions [n, 2, t] of tokens whose first is `place` [n, t]."""
    return paddle.stack([place, paddle.zeros_like(place)], axis=1)


class Norm(nn.Layer):
    """A layer norm that may be frozen: with a weight that does not learn, Paddle's own passes a wrong gradient to what
    it norms, without a word (3.3.1, on the CPU)."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.epsilon = norm.weight, norm.bias, norm._epsilon

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, x.shape[-1:], epsilon=self.epsilon) * self.weight + self.bias
