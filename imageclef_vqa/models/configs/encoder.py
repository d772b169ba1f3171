"""A family of image encoders is its config class, which knows its sizes, its cost and its pixels.

i images, p patches, d width.
"""

from __future__ import annotations

from dataclasses import Field
from typing import Any, ClassVar, Literal, Protocol

Statistics = Literal["clip", "imagenet", "inception", "lite", "endovit"]  # with which pixels are normalised


class EncoderConfig(Protocol):
    """What every family's config has, as a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    kind: ClassVar[str]  # its name in the `config.json` of a folder of weights

    @property
    def image_size(self) -> int:
        """Side of an image in pixels."""

    @property
    def statistics(self) -> Statistics:
        """Name of the mean and the deviation with which the weights expect pixels."""

    @property
    def stride(self) -> int:
        """Pixels from one patch to the next."""

    @property
    def width(self) -> int:
        """d, the width of a patch."""

    @property
    def tokens(self) -> int:
        """p, the patches of an image, and a Vision Transformer's tokens before them."""

    @property
    def layers(self) -> int:
        """Layers from the pixels up, which can be trained one by one."""

    @property
    def recompute(self) -> bool:
        """Whether a layer's activations are computed again in the backward pass instead of being kept."""

    def parameters(self) -> int:
        """Parameters of all layers."""

    def flops(self, i: int) -> float:
        """Operations of a forward pass."""

    def activations(self, i: int) -> float:
        """Numbers that a forward pass keeps for the backward pass."""

    def largest_layer(self, i: int) -> float:
        """Numbers of the largest layer: what exists at once in a forward pass that keeps nothing."""
