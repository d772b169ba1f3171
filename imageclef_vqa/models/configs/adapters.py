"""Low-rank adapters (LoRA) on a frozen language model: their settings, and what they cost. No Paddle.

n pairs of image and question, t tokens of a prefix, a answer tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Targets = Literal["attention", "all-linear"]


class LinearLayers(NamedTuple):
    """Linear layers [inner, outer] of a language model: how many, and which tokens they read."""

    number: int
    inner: int
    outer: int
    prefix: bool
    answer: bool

    @property
    def widths(self) -> int:
        """The rows of all A and the columns of all B together."""
        return self.number * (self.inner + self.outer)

    def tokens(self, t: int, a: int) -> int:
        return t * self.prefix + a * self.answer


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """x·W becomes x·W + (alpha / rank)·x·A·B (Hu et al. 2021, section 4.1); the names are those of peft's `LoraConfig`.

    `targets`: the linear layers of attention, or also those of the MLPs. The output layer never has one.
    """

    rank: int
    alpha: float = 16.0
    dropout: float = 0.0
    targets: Targets = "attention"

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @property
    def on_mlp(self) -> bool:
        return self.targets == "all-linear"

    def parameters(self, layers: Sequence[LinearLayers]) -> int:
        return self.rank * sum(each.widths for each in layers)

    def flops(self, layers: Sequence[LinearLayers], n: int, t: int, a: int) -> float:
        """Operations of a forward pass through A and B."""
        return float(2 * n * self.rank * sum(each.tokens(t, a) * each.widths for each in layers))

    def activations(self, layers: Sequence[LinearLayers], n: int, t: int, a: int) -> int:
        """Numbers that a forward pass keeps between A and B."""
        return n * self.rank * sum(each.tokens(t, a) * each.number for each in layers)
