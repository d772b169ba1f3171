"""Sizes of EfficientNet-Lite.  i images, c channels, k side of a kernel, s side of a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

from imageclef_vqa.models.configs.arithmetic import norm
from imageclef_vqa.models.configs.encoder import Statistics

STEM = 32  # channels of the first convolution, which Lite does not scale
_EXPANSION = 6


class Block(NamedTuple):
    """An inverted residual block (MobileNetV2, section 3.3): widen, a convolution per channel, narrow."""

    kernel: int
    stride: int
    expansion: int
    channels_in: int
    channels_out: int

    @property
    def expanded(self) -> int:
        return self.expansion * self.channels_in


# Repeats, kernel, stride, expansion and output channels of each stage (EfficientNet, table 1; the Lite variants of
# tensorflow/tpu, `efficientnet_lite_builder.py`, have neither squeeze-and-excitation nor swish).
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, _EXPANSION, 24),
    (2, 5, 2, _EXPANSION, 40),
    (3, 3, 2, _EXPANSION, 80),
    (3, 5, 1, _EXPANSION, 112),
    (4, 5, 2, _EXPANSION, 192),
    (1, 3, 1, _EXPANSION, 320),
)


@dataclass(frozen=True, kw_only=True)
class EfficientNetConfig:
    """Sizes of EfficientNet-Lite (Tan and Le 2019; Liu 2020), up to its last block.

    A patch holds the output of the last block, and that of the last block with twice as fine a grid, averaged over the
    patch: what an endoscope's image shows is often smaller than a patch.
    """

    kind: ClassVar[str] = "efficientnet-lite"

    image_size: int
    width_factor: float = 1.0
    depth_factor: float = 1.0
    recompute: bool = False
    statistics: Statistics = "lite"

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks from the pixels up."""
        found, channels = [], STEM
        for number, (repeats, kernel, stride, expansion, base) in enumerate(_STAGES):
            ends = number in (0, len(_STAGES) - 1)  # Lite does not deepen these
            for repeat in range(repeats if ends else math.ceil(self.depth_factor * repeats)):
                out = _rounded(base * self.width_factor)
                found.append(Block(kernel, stride if repeat == 0 else 1, expansion, channels, out))
                channels = out
        return tuple(found)

    @cached_property
    def middle(self) -> int:
        """The index of the last block whose grid is twice as fine as that of the last one."""
        return max(index for index, block in enumerate(self.blocks) if block.stride == 2) - 1

    @property
    def stride(self) -> int:
        return 2 ** (1 + sum(block.stride == 2 for block in self.blocks))

    @property
    def width(self) -> int:
        return self.blocks[-1].channels_out + self.blocks[self.middle].channels_out

    @property
    def side(self) -> int:
        """Patches along a side."""
        return math.ceil(self.image_size / self.stride)

    @property
    def tokens(self) -> int:
        return self.side**2

    @property
    def layers(self) -> int:
        return len(self.blocks)

    def parameters(self) -> int:
        return sum(product + out for product, out, _ in self._convolutions()) + norm(self.width)

    def flops(self, i: int) -> float:
        return float(i * sum(2 * product * side**2 for product, _, side in self._convolutions()))

    def activations(self, i: int) -> float:
        """The input of each convolution and its output before and after the activation."""
        return float(i * (3 * self.image_size**2 + sum(3 * out * side**2 for _, out, side in self._convolutions())))

    def largest_layer(self, i: int) -> float:
        return float(i * max(3 * out * side**2 for _, out, side in self._convolutions()))

    def _convolutions(self) -> list[tuple[int, int, int]]:
        """The weights, the output channels and the side of the output of each convolution up to the last block."""
        side = math.ceil(self.image_size / 2)
        found = [(3 * 9 * STEM, STEM, side)]
        for block in self.blocks:
            wide = block.expanded
            found += [(block.channels_in * wide, wide, side)] * (block.expansion > 1)
            side = math.ceil(side / block.stride)
            found += [(block.kernel**2 * wide, wide, side), (wide * block.channels_out, block.channels_out, side)]
        return found


def _rounded(channels: float) -> int:
    """The nearest multiple of 8 that is not more than 10% smaller (MobileNet's `make_divisible`)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


# Width, depth and image size of the published variants (`efficientnet_lite_builder.py`).
EFFICIENTNET_LITE = {
    f"efficientnet-lite{number}": EfficientNetConfig(image_size=size, width_factor=width, depth_factor=depth)
    for number, (width, depth, size) in enumerate(
        ((1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 280), (1.4, 1.8, 300))
    )
}
