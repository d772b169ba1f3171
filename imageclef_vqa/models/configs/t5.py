"""T5: an encoder for visual tokens and question, a decoder for the answer. Letters as in `language.py`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from imageclef_vqa.models.configs.adapters import LinearLayers
from imageclef_vqa.models.configs.arithmetic import attention_flops
from imageclef_vqa.models.configs.language import BEAM, BEAM_TOKENS, VOCABULARY_BLOCK, LanguageConfig


@dataclass(frozen=True, kw_only=True)
class T5Config(LanguageConfig):
    """Sizes of a T5 (Raffel et al. 2020, section 3.1.1), under the names of its `config.json`."""

    kind: ClassVar[str] = "t5"
    tokenizer_file: ClassVar[str] = "spiece.model"
    encoder_decoder: ClassVar[bool] = True
    prefix_tokens: ClassVar[int] = 0
    attention_layers: ClassVar[str] = r"(SelfAttention|EncDecAttention)\.[qkvo]"
    mlp_layers: ClassVar[str] = r"DenseReluDense\.(wi|wi_0|wi_1|wo)"

    prompt: str = "Question: {} Short answer:"  # LAVIS's for questions (`vqav2_zeroshot_flant5xl_eval.yaml`)
    question_end: bool = True
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_decoder_layers: int
    num_heads: int
    feed_forward_proj: str = "relu"  # an activation, or "gated-" and an activation
    dense_act_fn: str | None = None  # the activation, where it is not the one above: BLIP-2's Flan-T5 has "gelu"
    tie_word_embeddings: bool = True
    scale_decoder_outputs: bool | None = None  # by 1/√d_model, before the head; None: if embeddings are tied
    dropout_rate: float = 0.1
    layer_norm_epsilon: float = 1e-6
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128

    @property
    def width(self) -> int:
        return self.d_model

    @property
    def blocks(self) -> int:
        return self.num_layers + self.num_decoder_layers

    @property
    def scales(self) -> bool:
        """Whether the decoder's states are scaled before the head (Mesh TensorFlow's convention)."""
        return self.tie_word_embeddings if self.scale_decoder_outputs is None else self.scale_decoder_outputs

    @property
    def gated(self) -> bool:
        """Whether the MLP multiplies two products (Shazeer 2020)."""
        return self.feed_forward_proj.startswith("gated-")

    @property
    def activation(self) -> str:
        """The name of the MLP's activation; "gated-gelu" means the original code's approximation (`T5Config`)."""
        approximate = self.feed_forward_proj == "gated-gelu"
        return self.dense_act_fn or ("gelu_new" if approximate else self.feed_forward_proj.removeprefix("gated-"))

    @property
    def _inner(self) -> int:
        """Channels of all heads."""
        return self.num_heads * self.d_kv

    @property
    def _mlp_matrices(self) -> int:
        return 3 if self.gated else 2

    def parameters(self) -> int:
        d = self.d_model
        attention = 4 * d * self._inner + d  # no biases; a norm has one tensor
        mlp = self._mlp_matrices * d * self.d_ff + d
        relative = self.relative_attention_num_buckets * self.num_heads
        encoder = self.num_layers * (attention + mlp) + relative + d
        decoder = self.num_decoder_layers * (2 * attention + mlp) + relative + d
        return encoder + decoder + self.vocab_size * d * (1 if self.tie_word_embeddings else 2)

    def largest_matrix(self) -> int:
        tokens = min(self.vocab_size, VOCABULARY_BLOCK) if self.tie_word_embeddings else self.vocab_size
        return self.width * max(self.d_ff, self._inner, tokens)

    def cache_numbers(self, t: int) -> int:
        per_token = 2 * self.num_decoder_layers * self._inner
        return t * (self.d_model + per_token) + BEAM * BEAM_TOKENS * per_token

    def with_one_layer(self) -> T5Config:
        return replace(self, num_layers=1, num_decoder_layers=1)

    def _layer_flops(self, t: int, a: int) -> int:
        d, inner = self.d_model, self._inner
        mlp = self._mlp_matrices * d * self.d_ff
        encoder = 2 * t * (4 * d * inner + mlp) + attention_flops(t, t, inner)
        decoder = 2 * a * (6 * d * inner + mlp) + 2 * t * 2 * d * inner + attention_flops(a, a + t, inner)
        return self.num_layers * encoder + self.num_decoder_layers * decoder

    def linear_layers(self, *, mlp: bool) -> list[LinearLayers]:
        d, inner, encoder, decoder = self.d_model, self._inner, self.num_layers, self.num_decoder_layers
        prefix, answer = {"prefix": True, "answer": False}, {"prefix": False, "answer": True}
        layers = [
            LinearLayers(3 * encoder, d, inner, **prefix),
            LinearLayers(encoder, inner, d, **prefix),
            LinearLayers(2 * decoder, d, inner, **prefix),  # keys and values of cross-attention
            LinearLayers(4 * decoder, d, inner, **answer),
            LinearLayers(2 * decoder, inner, d, **answer),
        ]
        for count, reads in ((encoder, prefix), (decoder, answer)) if mlp else ():
            layers.append(LinearLayers((self._mlp_matrices - 1) * count, d, self.d_ff, **reads))
            layers.append(LinearLayers(count, self.d_ff, d, **reads))
        return layers

    def _layer_activations(self, n: int, t: int, a: int, attention: bool, mlp: bool) -> float:
        d, inner, h = self.d_model, self._inner, self.num_heads
        wide = ((7 if self.gated else 2) - mlp) * self.d_ff
        encoder = n * t * ((6 - attention - mlp) * d + (4 - attention) * inner + wide) + 2 * n * h * t * t
        decoder = n * a * ((9 - 2 * attention - mlp) * d + (6 - 2 * attention) * inner + wide)
        decoder += 2 * n * h * a * (a + t)
        return self.num_layers * encoder + self.num_decoder_layers * (decoder + 2 * n * t * inner)
