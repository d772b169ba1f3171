"""Sizes of the Vision Transformer.  i images, p patches, t tokens, d width, m width of the MLP."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Literal

from imageclef_vqa.models.configs.arithmetic import attention_flops, layer_flops, linear, norm
from imageclef_vqa.models.configs.encoder import Statistics


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """Sizes of the Vision Transformer (Dosovitskiy et al. 2021, table 1; EVA-CLIP for the names)."""

    kind: ClassVar[str] = "vit"

    image_size: int
    patch_size: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    norm_epsilon: float = 1e-6
    final_norm_epsilon: float = 1e-6  # LAVIS's own norm over the patches (`ln_vision`) has 1e-5
    activation: str = "gelu"  # EVA-CLIP; CLIP has "quick_gelu"
    qkv_bias: bool = True
    patch_bias: bool = True  # CLIP has none
    patch_norm: bool = False  # CLIP norms the input of the first layer
    class_tokens: int = 1  # before the patches: the class token, then registers (Darcet et al. 2024); SigLIP has none
    drop_path: float = 0.0  # stochastic depth in the last layer, rising linearly to it (Huang et al. 2016)
    recompute: bool = False  # compute a layer's activations again in the backward pass instead of keeping them
    statistics: Statistics = "clip"
    # Of the grid of positions when it is resized: LAVIS aligns corners for CLIP; timm averages.
    align_corners: bool = False
    antialias: bool = False
    # "convolutional": strided 3 × 3 convolutions instead of one large one; small data needs them (Xiao et al. 2021).
    stem: Literal["linear", "convolutional"] = "linear"

    @property
    def stride(self) -> int:
        return self.patch_size

    @property
    def patches(self) -> int:
        return (self.image_size // self.patch_size) ** 2

    @property
    def tokens(self) -> int:
        """The patches, and the tokens before them."""
        return self.class_tokens + self.patches

    @property
    def stem_channels(self) -> list[int]:
        """Channels from pixels to patches in a convolutional stem; each convolution halves the image's sides."""
        halvings = self.patch_size.bit_length() - 1
        return [3, *(max(self.width >> (halvings - 1 - step), 16) for step in range(halvings))]

    def parameters(self) -> int:
        d, m = self.width, self.mlp_width
        attention = 3 * d * d + (3 * d if self.qkv_bias else 0) + linear(d, d)
        layer = 2 * norm(d) + attention + linear(d, m) + linear(m, d)
        # Norms, class tokens, positions.
        ends = norm(d) * (2 if self.patch_norm else 1) + (self.class_tokens + self.tokens) * d
        return self._stem_parameters() + ends + self.layers * layer

    def _stem_parameters(self) -> int:
        if self.stem == "linear":
            return 3 * self.patch_size**2 * self.width + (self.width if self.patch_bias else 0)
        blocks = sum(linear(9 * narrow, wide) + norm(wide) for narrow, wide in pairwise(self.stem_channels))
        return blocks + linear(self.stem_channels[-1], self.width)

    def flops(self, i: int) -> float:
        """Operations of a forward pass."""
        t, d = self.tokens, self.width
        stem = 2 * self.patches * 3 * self.patch_size**2 * d
        return float(i * (stem + self.layers * (layer_flops(t, d, self.mlp_width) + attention_flops(t, t, d))))

    def activations(self, i: int) -> float:
        """Numbers that a forward pass keeps for the backward pass.

        The factors are measured: what each of Paddle's operators saves, and the copies that transposes and splits
        make. They fit Paddle's count of allocated bytes to 0.1% (3.3.1, float32).
        """
        t, d, m = self.tokens, self.width, self.mlp_width
        layer = i * (8 * t * d + (4 if self.activation == "quick_gelu" else 2) * t * m + self.heads * t * t)
        layers = self.layers * i * t * d + layer if self.recompute else self.layers * layer
        return layers + i * (4 * t * d + 3 * self.image_size**2) + i * self._stem_activations()

    def largest_layer(self, i: int) -> float:
        return replace(self, layers=1, recompute=False).activations(i)

    def _stem_activations(self) -> float:
        """The outputs of each convolution, of its norm and of its activation, for one image."""
        if self.stem == "linear":
            return 0.0
        sides = (self.image_size >> halvings for halvings in range(1, len(self.stem_channels)))
        return float(sum(3 * c * side * side for c, side in zip(self.stem_channels[1:], sides, strict=True)))
