"""The encoders by the classes of their configs."""

from __future__ import annotations

from imageclef_vqa.models.configs import EfficientNetConfig, EncoderConfig, VisionConfig
from imageclef_vqa.models.efficientnet import EfficientNet
from imageclef_vqa.models.encoder import Encoder
from imageclef_vqa.models.vision import VisionTransformer

_ENCODERS = {VisionConfig: VisionTransformer, EfficientNetConfig: EfficientNet}


def build_encoder(config: EncoderConfig) -> Encoder:
    """The encoder of these sizes, with random weights."""
    return _ENCODERS[type(config)](config)
