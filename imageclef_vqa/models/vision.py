"""The image encoder: a Vision Transformer as EVA-CLIP and BLIP-2 use it (pre-norm, class token, final norm).

i images, p patches, d width; a picture is [i, 3, h, w], normalised with CLIP's mean and deviation.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import paddle
from paddle import Tensor, nn

from imageclef_vqa.models.attention import attend, merge_heads, split_heads
from imageclef_vqa.models.presets import VisionConfig

# CLIP's statistics of natural images (OpenAI CLIP, `preprocess`), which EVA-CLIP and BLIP-2 keep.
PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)


def normalise(pixels: np.ndarray) -> Tensor:
    """uint8 [i, h, w, 3] → float32 [i, 3, h, w], with CLIP's mean and deviation."""
    mean, std = np.array(PIXEL_MEAN, "float32"), np.array(PIXEL_STD, "float32")
    scaled = (pixels.astype("float32") / 255.0 - mean) / std
    return paddle.to_tensor(np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)))


class VisionTransformer(nn.Layer):
    """Pixels [i, 3, h, w] → patches [i, 1 + p, d], the class token first."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.image_size = config.image_size
        self.stem = _convolutional_stem(config) if config.stem == "convolutional" else _linear_stem(config)
        initial = nn.initializer.Normal(std=0.02)
        self.class_token = self.create_parameter([1, 1, config.width], default_initializer=initial)
        self.positions = self.create_parameter([1, 1 + config.patches, config.width], default_initializer=initial)
        self.layers = nn.LayerList([VisionLayer(config) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(config.width, epsilon=config.norm_epsilon)

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.stem(pixels).flatten(2).transpose([0, 2, 1])  # [i, p, d]
        x = paddle.concat([self.class_token.expand([x.shape[0], -1, -1]), x], axis=1) + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class VisionLayer(nn.Layer):
    """Attention, then a perceptron, each normed before and added after."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(config.width, epsilon=config.norm_epsilon)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.attention_out = nn.Linear(config.width, config.width)
        self.mlp_norm = nn.LayerNorm(config.width, epsilon=config.norm_epsilon)
        self.mlp_in = nn.Linear(config.width, config.mlp_width)
        self.mlp_out = nn.Linear(config.mlp_width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(self.attention_norm(x)).chunk(3, axis=-1))
        x = x + self.attention_out(merge_heads(attend(q, k, v)))
        return x + self.mlp_out(nn.functional.gelu(self.mlp_in(self.mlp_norm(x))))


def _linear_stem(config: VisionConfig) -> nn.Layer:
    return nn.Conv2D(3, config.width, config.patch_size, stride=config.patch_size)


def _convolutional_stem(config: VisionConfig) -> nn.Layer:
    """Halve the picture until one pixel stands for a patch, doubling the channels up to the width."""
    halvings = config.patch_size.bit_length() - 1
    channels = [3, *(max(config.width >> (halvings - 1 - step), 16) for step in range(halvings))]
    blocks: list[nn.Layer] = []
    for narrow, wide in pairwise(channels):
        blocks += [nn.Conv2D(narrow, wide, 3, stride=2, padding=1), nn.GroupNorm(8, wide), nn.GELU()]
    return nn.Sequential(*blocks, nn.Conv2D(channels[-1], config.width, 1))
