"""What BLIP-2 needs from an image encoder of any family.

i images, p patches, d width; pixels are [i, 3, h, w], normalised with the mean and deviation that the weights expect.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import paddle
from paddle import Tensor, nn

from imageclef_vqa.models.configs.encoder import EncoderConfig, Statistics

# Mean and standard deviation of each channel, of pixels from 0 to 1.
STATISTICS: dict[Statistics, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # OpenAI CLIP, `preprocess`; EVA-CLIP and BLIP-2 keep them.
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    # torchvision's ResNets, DINOv2.
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # The first ViTs, SigLIP.
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    # EfficientNet-Lite (`efficientnet_lite_builder.py`: MEAN_RGB and STDDEV_RGB).
    "lite": ((127 / 255,) * 3, (128 / 255,) * 3),
    # EndoViT, whose pixels are those of Cholec80.
    "endovit": ((0.3464, 0.2280, 0.2228), (0.2520, 0.2128, 0.2093)),
}


def normalise(pixels: np.ndarray, statistics: Statistics = "clip") -> Tensor:
    """uint8 [i, h, w, 3] → float32 [i, 3, h, w], with the mean and standard deviation of these `STATISTICS`."""
    planes = pixels.transpose(0, 3, 1, 2).astype("float32", order="C")
    mean, deviation = (np.array(values, "float32")[:, None, None] for values in STATISTICS[statistics])
    planes /= 255.0
    planes -= mean
    planes /= deviation
    return paddle.to_tensor(planes)


class Encoder(nn.Layer):
    """Pixels → `features` [i, p, d] → `norm`, which BLIP-2 trains even where all else is frozen → patches [i, p, d].

    `layers` can be trained one by one, from the last one down; with `recompute`, training keeps none of their
    activations.
    """

    layers: nn.LayerList
    norm: nn.LayerNorm
    attends = False  # whether the layers are attentions among the patches

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config, self.recompute = config, config.recompute

    def normalise(self, pixels: np.ndarray) -> Tensor:
        """uint8 [i, h, w, 3] → float32 [i, 3, h, w], as the weights expect it."""
        return normalise(pixels, self.config.statistics)

    @abstractmethod
    def features(self, pixels: Tensor) -> Tensor:
        """Pixels [i, 3, h, w] → the output [i, p, d] of the last layer."""

    def forward(self, pixels: Tensor) -> Tensor:
        return self.norm(self.features(pixels))

    @paddle.no_grad()
    def read(self, pixels: np.ndarray) -> Tensor:
        """`features` of uint8 [i, h, w, 3] without gradients, by weights that do not change any more."""
        self.eval()
        return self.features(self.normalise(pixels))
