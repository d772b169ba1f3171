"""The paper's classification experts: ResNet34 (He et al. 2016, table 1), under paddle.vision's names.

i images, c classes of all its questions side by side.
"""

from __future__ import annotations

from pathlib import Path

from paddle import nn
from paddle.vision.models import resnet34

from imageclef_vqa.checkpoints.convert import plan_conversion
from imageclef_vqa.checkpoints.layers import load_weights
from imageclef_vqa.checkpoints.source import open_source
from imageclef_vqa.errors import MedvqaError

_HEAD = ("fc.weight", "fc.bias")


def build_expert(classes: int) -> nn.Layer:
    """ResNet34 with `classes` outputs: pixels [i, 3, h, w] → logits [i, c]."""
    return resnet34(pretrained=False, num_classes=classes)


def start_from(model: nn.Layer, weights: Path) -> None:
    """Give `model` the weights of an ImageNet ResNet34, all but its head.

    Raises:
        MedvqaError: `weights`, a file or folder as `medvqa weights convert` reads it, cannot be read, or is none.
    """
    conversion = plan_conversion(open_source(weights))
    if (tensors := conversion.parts.get("resnet34")) is None:
        raise MedvqaError(f"{weights} holds no ResNet34 ({conversion.format})")
    body = {name: tensor for name, tensor in tensors.items() if name not in _HEAD}
    load_weights(model, body, str(weights), absent=_HEAD)
