"""The frozen language model: a T5 from PaddleNLP that reads visual tokens before the question.

n pairs, q visual tokens, t question tokens, a answer tokens, d width, v vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import paddle
from paddle import Tensor, nn
from paddlenlp.transformers import T5Config as PaddleNLPConfig
from paddlenlp.transformers import T5ForConditionalGeneration
from paddlenlp.transformers.t5.modeling import T5LayerNorm

from imageclef_vqa.models.presets import T5Config


class Memory(NamedTuple):
    """What the encoder made of visual tokens and question: states [n, q + t, d] and their mask [n, q + t]."""

    states: Tensor
    mask: Tensor


class T5(nn.Layer):
    """The interface of every language model here: `embed`, `encode`, `answer_log_probs`, `step`."""

    def __init__(self, sizes: T5Config) -> None:
        super().__init__()
        self.width, self.vocabulary = sizes.d_model, sizes.vocab_size
        self.model = T5ForConditionalGeneration(
            PaddleNLPConfig(**vars(sizes), pad_token_id=0, eos_token_id=1, bos_token_id=0)
        )
        for layer in self.model.sublayers():
            for name, norm in layer.named_children():
                if isinstance(norm, T5LayerNorm):
                    setattr(layer, name, RootMeanSquareNorm(norm))

    @property
    def words(self) -> Tensor:
        """The embedding of every word [v, d]."""
        return self.model.t5.shared.weight

    def embed(self, tokens: Tensor) -> Tensor:
        """Word embeddings [n, t, d]."""
        return self.model.t5.shared(tokens)

    def encode(self, visual: Tensor, question: Tensor, question_mask: Tensor) -> Memory:
        """Read visual tokens [n, q, d], then the question [n, t]."""
        mask = paddle.concat([paddle.ones(visual.shape[:2], dtype=question_mask.dtype), question_mask], axis=1)
        inputs = paddle.concat([visual, self.embed(question)], axis=1)
        states = self.model.t5.encoder(inputs_embeds=inputs, attention_mask=mask, return_dict=True).last_hidden_state
        return Memory(states, mask)

    def answer_logits(self, memory: Memory, answer: Tensor) -> Tensor:
        """Logits [n, a, v] of each answer token, given the ones before it, in float32."""
        start = paddle.zeros([answer.shape[0], 1], dtype=answer.dtype)  # the pad token starts T5's decoder
        logits, _ = self._decode(memory, paddle.concat([start, answer[:, :-1]], axis=1), None)
        return logits.astype("float32")

    def answer_log_probs(self, memory: Memory, answer: Tensor) -> Tensor:
        """Log-probability of each answer token [n, a], given the ones before it. Padding is scored too: mask it."""
        # From logits, in float32: the model's own `labels=` loss counts ignored positions (Paddle 3.3.1).
        return paddle.take_along_axis(
            nn.functional.log_softmax(self.answer_logits(memory, answer), axis=-1), answer.unsqueeze(-1), axis=-1
        ).squeeze(-1)

    def step(self, memory: Memory, tokens: Tensor, cache: list | None) -> tuple[Tensor, list]:
        """Logits [n, v] of the next token after `tokens` [n] (pad at first), and the cache to hand in next time."""
        logits, cache = self._decode(memory, tokens.unsqueeze(-1), cache, use_cache=True)
        return logits[:, -1], cache

    def _decode(
        self, memory: Memory, tokens: Tensor, cache: list | None, use_cache: bool = False
    ) -> tuple[Tensor, list]:
        decoded = self.model.t5.decoder(
            input_ids=tokens,
            encoder_hidden_states=memory.states,
            encoder_attention_mask=memory.mask,
            cache=cache,
            use_cache=use_cache,
            return_dict=True,
        )
        states = decoded.last_hidden_state
        if self.model.t5.config.tie_word_embeddings:
            # T5 with tied embeddings scales before the head (Mesh TensorFlow's convention).
            logits = paddle.matmul(states * self.width**-0.5, self.model.t5.shared.weight, transpose_y=True)
        else:
            logits = self.model.lm_head(states)
        return logits, decoded.past_key_values


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
