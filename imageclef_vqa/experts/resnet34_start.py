"""The ImageNet weights that a ResNet34 expert starts from."""

from __future__ import annotations

from pathlib import Path

from paddle import nn

from imageclef_vqa.checkpoints.convert import plan_conversion
from imageclef_vqa.checkpoints.layers import load_weights
from imageclef_vqa.checkpoints.source import open_source
from imageclef_vqa.errors import MedvqaError

_HEAD = ("fc.weight", "fc.bias")


def start_from(model: nn.Layer, weights: Path) -> None:
    """Give `model` the weights of an ImageNet ResNet34, all but its head.

    Raises:
        MedvqaError: `weights`, a file or folder as `medvqa weights convert` reads it, is damaged or no ResNet34.
    """
    conversion = plan_conversion(open_source(weights))
    if (tensors := conversion.parts.get("resnet34")) is None:
        raise MedvqaError(f"{weights} holds no ResNet34 ({conversion.format})")
    body = {name: tensor for name, tensor in tensors.items() if name not in _HEAD}
    load_weights(model, body, str(weights), absent=_HEAD)
