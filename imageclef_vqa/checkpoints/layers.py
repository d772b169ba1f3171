"""Save the weights of layers, and load them: all of them or none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from paddle import Tensor, nn

from imageclef_vqa.checkpoints.safetensors import open_safetensors, write_safetensors
from imageclef_vqa.checkpoints.stored import InMemory, LazyTensor, values
from imageclef_vqa.errors import MedvqaError


def save_weights(
    path: Path, tensors: Mapping[str, Tensor | np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write `tensors` to `path` in safetensors format, atomically."""
    arrays = {name: InMemory(np.asarray(tensor, order="C")) for name, tensor in tensors.items()}
    write_safetensors(path, arrays, metadata)


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file; bfloat16 as float32.

    Raises:
        MedvqaError: the file is missing, truncated or of another format.
    """
    return {name: values(tensor) for name, tensor in open_safetensors(path)[0].items()}


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that `save_weights` put beside the tensors."""
    return open_safetensors(path)[1]


def own_tensors(layer: nn.Layer) -> dict[str, Tensor]:
    """The tensors of `layer` by name; one that several layers share occurs once, under its first name."""
    first: dict[int, str] = {}
    return {name: tensor for name, tensor in layer.state_dict().items() if first.setdefault(id(tensor), name) == name}


def load_weights(
    model: nn.Layer, tensors: Mapping[str, LazyTensor | np.ndarray], source: str, *, absent: Collection[str] = ()
) -> None:
    """Give `model` exactly these tensors, each cast to the model's type; those named in `absent` stay as they are.

    Of a tensor that several layers share, the first name is enough.

    Raises:
        MedvqaError: names or shapes differ; every difference is listed, and the model is unchanged.
    """
    every, own = model.state_dict(), own_tensors(model)
    complaints = [f"+ extra {list(tensors[name].shape)}: {name}" for name in sorted(set(tensors) - set(every))]
    for name, parameter in every.items():
        if name not in tensors:
            if name in own and name not in absent:
                complaints.append(f"- {name} {list(parameter.shape)}: missing from the checkpoint")
        elif list(tensors[name].shape) != list(parameter.shape):
            complaints.append(f"~ {name}: checkpoint {list(tensors[name].shape)}, model {list(parameter.shape)}")
    if complaints:
        raise MedvqaError("\n".join([f"{source} does not fit the model:", *complaints]))
    for name, parameter in own.items():
        if name in tensors:
            tensor = tensors[name]
            array = tensor if isinstance(tensor, np.ndarray) else values(tensor)
            parameter.set_value(array.astype(np.dtype(str(parameter.dtype).removeprefix("paddle.")), copy=False))
