"""Sizes of the Q-Former.  i images, each with a text of t tokens, q queries, p patches, d width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imageclef_vqa.models.configs.arithmetic import NUMBERS_PER_LOGIT, attention_flops, layer_flops, linear, norm


@dataclass(frozen=True, kw_only=True)
class QFormerConfig:
    """Sizes of the Querying Transformer (BLIP-2, section 3.1)."""

    queries: int = 32
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    vision_width: int = 1408
    cross_attention_every: int = 2  # layers 0, 2, 4, … attend to the image
    vocabulary: int = 30523  # BERT's, and one token that asks for text
    positions: int = 512
    norm_epsilon: float = 1e-12
    activation: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    shared_width: int = 256  # of the space in which stage 1 compares image and text
    text: Literal["wordpiece", "language"] = "wordpiece"  # whose tokens stage 1 reads: BERT's or the language model's

    @property
    def cross_attentions(self) -> int:
        """How many layers attend to the image."""
        return -(-self.layers // self.cross_attention_every)

    # Parameters

    def query_parameters(self) -> int:
        """Everything that reads an image."""
        d = self.width
        cross = 2 * linear(d, d) + 2 * linear(self.vision_width, d) + norm(d)
        layer = 4 * linear(d, d) + norm(d) + self._mlp_parameters()
        return self.queries * d + norm(d) + self.layers * layer + self.cross_attentions * cross

    def text_parameters(self) -> int:
        """What only text needs: embeddings, and an MLP in each layer."""
        return (self.vocabulary + self.positions) * self.width + self.layers * self._mlp_parameters()

    def head_parameters(self) -> int:
        """The heads of stage 1, for its losses ITC, ITM and ITG."""
        d = self.width
        itc = 2 * linear(d, self.shared_width) + 1
        return itc + linear(d, 2) + linear(d, d) + norm(d) + self.vocabulary

    def _mlp_parameters(self) -> int:
        return linear(self.width, self.mlp_width) + linear(self.mlp_width, self.width) + norm(self.width)

    # Operations of a forward pass

    def flops(self, i: int, p: int) -> float:
        """Queries that read images."""
        return i * (self._self_flops(self.queries) + self._key_value_flops(p) + self._cross_flops(p))

    def pretraining_flops(self, i: int, t: int, p: int) -> float:
        """Stage 1: queries; text; both together for 3·i pairs (ITM); and text that is written after queries (ITG)."""
        itm = self._self_flops(self.queries + t) + self._cross_flops(p)
        itg = self._self_flops(t) + self.layers * attention_flops(t, self.queries, self.width)
        logits = 2 * t * self.width * self.vocabulary
        return self.flops(i, p) + i * (self._self_flops(t) + 3 * itm + itg + logits)

    def _self_flops(self, t: int) -> int:
        return self.layers * (layer_flops(t, self.width, self.mlp_width) + attention_flops(t, t, self.width))

    def _key_value_flops(self, p: int) -> int:
        """Keys and values of p patches; whatever is read beside them shares these."""
        return self.cross_attentions * 2 * p * 2 * self.vision_width * self.width

    def _cross_flops(self, p: int) -> int:
        d, q = self.width, self.queries
        return self.cross_attentions * (2 * q * 2 * d * d + attention_flops(q, p, d))

    # Numbers that a forward pass keeps for the backward pass; the factors are measured (see `VisionConfig`)

    def activations(self, i: int, p: int) -> float:
        """Queries that read images."""
        own = self._attention(i, self.queries, self.queries) + self._mlp(i, self.queries)
        return self.layers * own + self.cross_attentions * self._attention(i, self.queries, p)

    def pretraining_activations(self, i: int, t: int, p: int) -> float:
        """Stage 1, as in `pretraining_flops`."""
        q, tokens, pairs = self.queries, self.queries + t, 3 * i
        itm = self.layers * (self._attention(pairs, tokens, tokens) + self._mlp(pairs, tokens))
        itm += self.cross_attentions * self._attention(pairs, q, p)
        text = self.layers * (self._attention(i, t, t) + self._mlp(i, t))
        itg = self.layers * (self._attention(i, t, tokens) + self._mlp(i, t))
        logits = NUMBERS_PER_LOGIT * i * t * self.vocabulary
        return self.activations(i, p) + text + itm + itg + logits + i * p * self.vision_width

    def _attention(self, n: int, q: int, k: int) -> float:
        return n * (4.25 * q * self.width + 2 * k * self.width + 2.25 * self.heads * q * k)

    def _mlp(self, n: int, t: int) -> float:
        return n * t * (2.25 * self.width + 2 * self.mlp_width)
