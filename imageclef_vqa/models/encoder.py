"""What BLIP-2 needs from an image encoder of any family.

i images, p patches, d width; pixels are [i, 3, h, w], normalised with the mean and standard deviation of the weights.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import paddle
from paddle import Tensor, nn

from imageclef_vqa.models.configs.encoder import CLIP_MEAN, CLIP_STD, Channels, EncoderConfig


def normalise(pixels: np.ndarray, mean: Channels = CLIP_MEAN, std: Channels = CLIP_STD) -> Tensor:
    """uint8 [i, h, w, 3] → float32 [i, 3, h, w] with this mean and standard deviation (of pixels from 0 to 1)."""
    planes = pixels.transpose(0, 3, 1, 2).astype("float32", order="C")
    planes /= 255.0
    planes -= np.array(mean, "float32")[:, None, None]
    planes /= np.array(std, "float32")[:, None, None]
    return paddle.to_tensor(planes)


class Encoder(nn.Layer):
    """Pixels [i, 3, h, w] → patches [i, p, d].

    `layers` are trained one by one, from the last one down; `recompute` saves their activations in training.
    """

    layers: nn.LayerList

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config, self.recompute = config, config.recompute

    def normalise(self, pixels: np.ndarray) -> Tensor:
        """uint8 [i, h, w, 3] → float32 [i, 3, h, w], as the weights expect it."""
        return normalise(pixels, self.config.pixel_mean, self.config.pixel_std)

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels [i, 3, h, w] → patches [i, p, d]."""

    @paddle.no_grad()
    def read(self, pixels: np.ndarray) -> Tensor:
        """Patches [i, p, d] of uint8 [i, h, w, 3], for weights that do not change any more; without gradients."""
        self.eval()
        return self(self.normalise(pixels))
