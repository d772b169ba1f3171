"""ResNet34 (He et al. 2016, table 1), with paddle.vision's names: the network of the paper's experts."""

from __future__ import annotations

from paddle import nn
from paddle.vision.models import resnet34

from imageclef_vqa.models.configs.encoder import Statistics

STATISTICS: Statistics = "imagenet"  # of pixels (`encoder.STATISTICS`), as torchvision and timm train ResNet34


def build_expert(classes: int) -> nn.Layer:
    """ResNet34 with `classes` outputs: pixels [i, 3, h, w], normalised with `STATISTICS` → logits [i, c]."""
    return resnet34(pretrained=False, num_classes=classes)
