"""ChatGLM-6B: a decoder whose prefix sees itself whole. Letters as in `language.py`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from imageclef_vqa.models.configs.adapters import LinearLayers
from imageclef_vqa.models.configs.arithmetic import attention_flops, layer_flops, linear, norm
from imageclef_vqa.models.configs.language import VOCABULARY_BLOCK, LanguageConfig


@dataclass(frozen=True, kw_only=True)
class GLMConfig(LanguageConfig):
    """Sizes of a GLM with 2-D positions (Du et al. 2022, section 2), under the names of ChatGLM-6B's `config.json`."""

    kind: ClassVar[str] = "glm"
    tokenizer_file: ClassVar[str] = "ice_text.model"
    encoder_decoder: ClassVar[bool] = False
    prefix_tokens: ClassVar[int] = 1  # [gMASK]
    attention_layers: ClassVar[str] = r"attention\.(query_key_value|dense)"
    mlp_layers: ClassVar[str] = r"mlp\.dense_(h_to_4h|4h_to_h)"

    vocab_size: int = 130528
    hidden_size: int = 4096
    num_layers: int = 28
    num_attention_heads: int = 32
    inner_hidden_size: int = 16384
    layernorm_epsilon: float = 1e-5
    max_sequence_length: int = 2048
    gmask_token_id: int = 130001  # marks the gap that the answer fills
    bos_token_id: int = 130004  # <sop>, before an answer
    eos_token_id: int = 130005  # <eop>, after it
    # The first position of answer tokens: "gap", that of [gMASK]; "next", those that follow it.
    answer_positions: Literal["gap", "next"] = "gap"

    @property
    def width(self) -> int:
        return self.hidden_size

    @property
    def blocks(self) -> int:
        return self.num_layers

    def parameters(self) -> int:
        d, m = self.hidden_size, self.inner_hidden_size
        layer = 2 * norm(d) + linear(d, 3 * d) + linear(d, d) + linear(d, m) + linear(m, d)
        return self.vocab_size * d + self.num_layers * layer + norm(d)

    def largest_matrix(self) -> int:
        return self.width * max(self.inner_hidden_size, 3 * self.width, min(self.vocab_size, VOCABULARY_BLOCK))

    def cache_numbers(self, t: int) -> int:
        return 2 * self.num_layers * self.width * (t + 1)

    def with_one_layer(self) -> GLMConfig:
        return replace(self, num_layers=1)

    def _layer_flops(self, t: int, a: int) -> int:
        d = self.hidden_size
        attention = attention_flops(t, t, d) + attention_flops(a, t + a, d)
        return self.num_layers * (layer_flops(t + a, d, self.inner_hidden_size) + attention)

    def linear_layers(self, *, mlp: bool) -> list[LinearLayers]:
        d, m, count = self.hidden_size, self.inner_hidden_size, self.num_layers
        shapes = [(d, 3 * d), (d, d), *([(d, m), (m, d)] if mlp else [])]
        return [LinearLayers(count, *shape, prefix=True, answer=True) for shape in shapes]

    def _layer_activations(self, n: int, t: int, a: int, attention: bool, mlp: bool) -> float:
        d, m, h = self.hidden_size, self.inner_hidden_size, self.num_attention_heads
        fewer = 2 * attention + mlp
        prefix = n * t * ((17.3 - fewer) * d + (2 - mlp) * m)
        answer = n * a * ((12.7 - fewer) * d + (2 - mlp) * m)
        return self.num_layers * (prefix + answer + n * h * (t * t + a * (t + a)))
