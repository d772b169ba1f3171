"""The paper's classification experts: ResNet34 (He et al. 2016, table 1), under paddle.vision's names.

i images, c classes of all its questions side by side.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from paddle import nn
from paddle.vision.models import resnet34

from imageclef_vqa.models.weights import load_weights

# torchvision's and timm's names → paddle.vision's; None is left out on purpose.
_RENAMED = {"running_mean": "_mean", "running_var": "_variance", "num_batches_tracked": None}


def build_expert(classes: int) -> nn.Layer:
    """ResNet34 with `classes` outputs: pixels [i, 3, h, w] → logits [i, c]."""
    return resnet34(pretrained=False, num_classes=classes)


def from_torch(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of torchvision's or timm's ResNet34 under Paddle's names, the head's weight as [in, out]."""
    renamed = {}
    for name, tensor in tensors.items():
        stem, _, last = name.rpartition(".")
        if (own := _RENAMED.get(last, last)) is not None:
            renamed[f"{stem}.{own}"] = tensor.T if name == "fc.weight" else tensor
    return renamed


def start_from(model: nn.Layer, tensors: Mapping[str, np.ndarray], source: str) -> None:
    """Give `model` the weights of an ImageNet ResNet34, all but its head.

    Raises:
        MedvqaError: they are not a ResNet34's; the differences are listed.
    """
    head = {name: tensor.numpy() for name, tensor in model.state_dict().items() if name.startswith("fc.")}
    body = {name: tensor for name, tensor in from_torch(tensors).items() if not name.startswith("fc.")}
    load_weights(model, body | head, source)
