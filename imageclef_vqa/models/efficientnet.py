"""EfficientNet-Lite: inverted residual blocks without squeeze-and-excitation, with ReLU6 (Tan and Le 2019; Liu 2020).

Batch normalisation is part of the convolutions' weights and biases: an encoder that is frozen, or trained on a few
hundred images, keeps ImageNet's statistics.

i images, c channels, s side of a grid; pixels are [i, 3, h, w].
"""

from __future__ import annotations

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.distributed.fleet.utils import recompute
from paddle.nn import functional as F

from imageclef_vqa.models.configs.efficientnet import STEM, Block, EfficientNetConfig
from imageclef_vqa.models.encoder import Encoder
from imageclef_vqa.models.engine import Engine


class EfficientNet(Encoder):
    """Pixels [i, 3, h, w] → patches [i, p, d], row by row: the last block's output, then the middle one's."""

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__(config)
        self.middle = config.middle
        self.stem = Convolution(3, STEM, 3, stride=2)
        self.layers = nn.LayerList([InvertedResidual(block) for block in config.blocks])
        self.norm = nn.LayerNorm(config.width, epsilon=1e-6)
        self._engine: Engine | None = None

    def features(self, pixels: Tensor) -> Tensor:
        x = F.relu6(self.stem(pixels))
        for index, layer in enumerate(self.layers):
            x = recompute(layer, x) if self.recompute and self.training else layer(x)
            if index == self.middle:
                fine = F.avg_pool2d(x, 2, stride=2, ceil_mode=True)
        return paddle.concat([x, fine], axis=1).flatten(2).transpose([0, 2, 1])

    def read(self, pixels: np.ndarray) -> Tensor:
        if paddle.get_device() != "cpu":
            return super().read(pixels)
        if self._engine is None:
            self._engine = Engine(self, self.features, self.config.image_size)
        return self._engine(self.normalise(pixels))


class InvertedResidual(nn.Layer):
    """Widen, convolve each channel, narrow; what comes out is added to what came in where the shapes allow it."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        wide = block.expanded
        self.expand = Convolution(block.channels_in, wide, 1) if block.expansion > 1 else None
        self.depthwise = Convolution(wide, wide, block.kernel, stride=block.stride, groups=wide)
        self.project = Convolution(wide, block.channels_out, 1)
        self.residual = block.stride == 1 and block.channels_in == block.channels_out

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else F.relu6(self.expand(x))
        narrow = self.project(F.relu6(self.depthwise(wide)))
        return x + narrow if self.residual else narrow


class Convolution(nn.Conv2D):
    """A convolution whose output has side ⌈s / stride⌉, with TensorFlow's padding: the odd pixel is at the end."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels_in, channels_out, kernel, stride=stride, padding="SAME", groups=groups)
