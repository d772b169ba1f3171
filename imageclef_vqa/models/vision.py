"""The image encoder: a Vision Transformer with norms before each part, and a norm at the end.

`VisionConfig` holds what differs between EVA-CLIP's ViT-g/14, CLIP's ViT-L/14 and others. BLIP-2 takes the input of
their last layer, so that layer is not built; the norm at the end is BLIP-2's own (LAVIS: `ln_vision`).

i images, k class tokens, p patches, d width; pixels are [i, 3, h, w].
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.distributed.fleet.utils import recompute
from PIL import Image

from imageclef_vqa.models.activations import ACTIVATIONS
from imageclef_vqa.models.attention import attend
from imageclef_vqa.models.configs import VisionConfig
from imageclef_vqa.models.dropout import Dropout
from imageclef_vqa.models.encoder import Encoder


class VisionTransformer(Encoder):
    """Pixels [i, 3, h, w] → class tokens, then patches [i, k + p, d]."""

    attends = True

    def __init__(self, config: VisionConfig) -> None:
        super().__init__(config)
        self.stem = _convolutional_stem(config) if config.stem == "convolutional" else _linear_stem(config)
        initial = nn.initializer.Normal(std=0.02)
        shape = [1, config.class_tokens, config.width]
        self.class_token = self.create_parameter(shape, default_initializer=initial) if config.class_tokens else None
        self.positions = self.create_parameter([1, config.tokens, config.width], default_initializer=initial)
        self.patch_norm = nn.LayerNorm(config.width, epsilon=config.norm_epsilon) if config.patch_norm else None
        last = max(config.layers - 1, 1)
        self.layers = nn.LayerList(
            [VisionLayer(config, config.drop_path * index / last) for index in range(config.layers)]
        )
        self.norm = nn.LayerNorm(config.width, epsilon=config.final_norm_epsilon)

    def features(self, pixels: Tensor) -> Tensor:
        x = self.stem(pixels).flatten(2).transpose([0, 2, 1])  # [i, p, d]
        if self.class_token is not None:
            x = paddle.concat([self.class_token.expand([x.shape[0], -1, -1]), x], axis=1)
        x = x + self.positions.squeeze(0)
        if self.patch_norm is not None:
            x = self.patch_norm(x)
        for layer in self.layers:
            x = recompute(layer, x) if self.recompute and self.training else layer(x)
        return x


class VisionLayer(nn.Layer):
    """Attention, then an MLP, each normed before and added after; an image skips one with probability `drop_path`."""

    def __init__(self, config: VisionConfig, drop_path: float) -> None:
        super().__init__()
        self.heads, self.drop_path = config.heads, Dropout(drop_path)
        self.activate = ACTIVATIONS[config.activation]
        self.attention_norm = nn.LayerNorm(config.width, epsilon=config.norm_epsilon)
        self.qkv = nn.Linear(config.width, 3 * config.width, bias_attr=None if config.qkv_bias else False)
        self.attention_out = nn.Linear(config.width, config.width)
        self.mlp_norm = nn.LayerNorm(config.width, epsilon=config.norm_epsilon)
        self.mlp_in = nn.Linear(config.width, config.mlp_width)
        self.mlp_out = nn.Linear(config.mlp_width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.attention_norm(x)).chunk(3, axis=-1)
        x = x + self._skipped(self.attention_out(attend(q, k, v, self.heads)))
        return x + self._skipped(self.mlp_out(self.activate(self.mlp_in(self.mlp_norm(x)))))

    def _skipped(self, x: Tensor) -> Tensor:
        """Stochastic depth (Huang et al. 2016): zero for some images, scaled up for the others."""
        if not self.training or self.drop_path.rate == 0.0:
            return x
        return x * self.drop_path(paddle.ones([x.shape[0], 1, 1], dtype=x.dtype))


def resize_positions(positions: np.ndarray, config: VisionConfig) -> np.ndarray:
    """Position embeddings [1, t, d] for the patches of `config`, by bicubic interpolation (ViT, section 3.2).

    Those of class tokens stay as they are. With `align_corners`, the outermost positions keep their values (LAVIS,
    `clip_vit.py`); with `antialias`, the kernel is wider for a coarser grid, and it is Pillow's (timm).
    Computed in float32 on the CPU: Ascend has no bicubic kernel.
    """
    first = config.class_tokens
    old, new = math.isqrt(positions.shape[1] - first), math.isqrt(config.patches)
    grid = positions[:, first:].astype("float32").reshape(old, old, -1).transpose(2, 0, 1)  # [d, rows, columns]
    if config.antialias:
        size = (new, new)
        planes = (Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC) for plane in grid)
        resized = np.stack([np.asarray(plane) for plane in planes])
    else:
        on_cpu = paddle.to_tensor(grid[None], place=paddle.CPUPlace())
        corners = config.align_corners
        resized = nn.functional.interpolate(on_cpu, size=[new, new], mode="bicubic", align_corners=corners)[0].numpy()
    flat = resized.reshape(1, -1, new * new).transpose(0, 2, 1)
    return np.concatenate([positions[:, :first].astype("float32"), flat], axis=1)


def _linear_stem(config: VisionConfig) -> nn.Layer:
    bias = None if config.patch_bias else False
    return nn.Conv2D(3, config.width, config.patch_size, stride=config.patch_size, bias_attr=bias)


def _convolutional_stem(config: VisionConfig) -> nn.Layer:
    """Halve the image until one pixel stands for a patch; each convolution doubles the channels, up to the width."""
    blocks: list[nn.Layer] = []
    for narrow, wide in pairwise(config.stem_channels):
        blocks += [Convolution(narrow, wide, 3, stride=2, padding=1), nn.GroupNorm(8, wide), nn.GELU()]
    return nn.Sequential(*blocks, nn.Conv2D(config.stem_channels[-1], config.width, 1))


class Convolution(nn.Conv2D):
    """Paddle's convolution with an expanded bias: broadcasting it takes a CPU twice as long as the products (3.3.1)."""

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.conv2d(x, self.weight, None, self._stride, self._padding, self._dilation)
        return x + self.bias.reshape([-1, 1, 1]).expand(x.shape[1:])
