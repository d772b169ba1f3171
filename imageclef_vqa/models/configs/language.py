"""A language family is its config class, which knows its sizes, its cost, its tokenizer and its layers.

n pairs of image and question, t tokens of a prefix (visual tokens and question), a answer tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from imageclef_vqa.models.configs.adapters import AdapterConfig, LinearLayers
from imageclef_vqa.models.configs.arithmetic import NUMBERS_PER_LOGIT

# A beam decodes this many answers per question, each of about this many tokens: few questions need more.
BEAM, BEAM_TOKENS = 5, 4
# Rows of a frozen vocabulary that are widened to float32 at once: 134 MB at a width of 4096.
VOCABULARY_BLOCK = 8192


@dataclass(frozen=True, kw_only=True)
class LanguageConfig(ABC):
    """What every family's config has beside its sizes."""

    kind: ClassVar[str]  # its name in the `config.json` of a folder of weights
    tokenizer_file: ClassVar[str]  # the name under which every publisher stores its tokenizer
    encoder_decoder: ClassVar[bool]
    prefix_tokens: ClassVar[int]  # tokens of a prefix beside visual tokens and question
    attention_layers: ClassVar[str]  # pattern of the names of attention's linear layers
    mlp_layers: ClassVar[str]  # of those of the MLPs
    vocab_size: int
    num_layers: int
    prompt: str = "{}"  # {} stands for the question; visual tokens come first, or where {image} stands
    question_end: bool = False  # whether the end token follows the question

    @property
    @abstractmethod
    def width(self) -> int:
        """Width of the embeddings."""

    @property
    @abstractmethod
    def blocks(self) -> int:
        """Layers of all stacks together."""

    @abstractmethod
    def parameters(self) -> int:
        """Parameters; a shared tensor counts once."""

    @abstractmethod
    def largest_matrix(self) -> int:
        """Numbers of a frozen model that are widened to float32 at once: a matrix, or a block of the vocabulary."""

    @abstractmethod
    def cache_numbers(self, t: int) -> int:
        """Numbers that are kept for one question while a beam decodes its answers, which share its prefix."""

    def flops(self, n: int, t: int, a: int) -> float:
        """Operations of a forward pass over prefix and answer, all answer tokens at once."""
        return float(n * (self._layer_flops(t, a) + 2 * a * self.width * self.vocab_size))

    def activations(self, n: int, t: int, a: int, *, stored: bool, adapters: AdapterConfig | None = None) -> float:
        """Numbers that a forward pass keeps for the backward pass; the factors are measured (see `VisionConfig`).

        A frozen model that is `stored` below float32 keeps fewer: a product with a widened matrix keeps no input. With
        `adapters`, the layers that have one keep theirs.
        """
        logits = NUMBERS_PER_LOGIT * n * a * self.vocab_size
        attention, mlp = stored and adapters is None, stored and not (adapters is not None and adapters.on_mlp)
        low = 0 if adapters is None else adapters.activations(self.linear_layers(mlp=adapters.on_mlp), n, t, a)
        return self._layer_activations(n, t, a, attention, mlp) + low + logits + 2 * n * t * self.width

    @abstractmethod
    def linear_layers(self, *, mlp: bool) -> list[LinearLayers]:
        """The linear layers of attention, and those of the MLPs if `mlp` is true."""

    @abstractmethod
    def with_one_layer(self) -> LanguageConfig:
        """The config of one layer per stack: what exists at once where nothing is kept."""

    @abstractmethod
    def _layer_flops(self, t: int, a: int) -> int: ...

    @abstractmethod
    def _layer_activations(self, n: int, t: int, a: int, attention: bool, mlp: bool) -> float:
        """`attention` and `mlp`: whether their products keep no input."""
