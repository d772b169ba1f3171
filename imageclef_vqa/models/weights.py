"""Weights in files: safetensors, loaded whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from paddle import Tensor, nn
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.files import atomic_write


def save_weights(
    path: Path, tensors: Mapping[str, Tensor | np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write `tensors` to `path` in safetensors format, whole or not at all."""
    arrays = {name: np.ascontiguousarray(np.asarray(tensor)) for name, tensor in sorted(tensors.items())}
    with atomic_write(path, "wb") as file:
        file.write(save(arrays, metadata=dict(metadata or {})))


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file.

    Raises:
        MedvqaError: the file is missing, cut short or of another format.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise MedvqaError(f"cannot read weights from {path}: {error}") from error


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that `save_weights` put beside the tensors.

    Raises:
        MedvqaError: the file is missing, cut short or of another format.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise MedvqaError(f"cannot read weights from {path}: {error}") from error


def load_weights(model: nn.Layer, tensors: Mapping[str, np.ndarray], source: str) -> None:
    """Give `model` exactly these tensors.

    Raises:
        MedvqaError: names or shapes differ; every difference is listed, and the model is as it was.
    """
    own = model.state_dict()
    complaints = [f"+ extra {list(tensors[name].shape)}: {name}" for name in sorted(set(tensors) - set(own))]
    for name, parameter in own.items():
        if name not in tensors:
            complaints.append(f"- {name} {list(parameter.shape)}: missing from the checkpoint")
        elif list(tensors[name].shape) != list(parameter.shape):
            complaints.append(f"~ {name}: checkpoint {list(tensors[name].shape)}, model {list(parameter.shape)}")
    if complaints:
        raise MedvqaError("\n".join([f"{source} does not fit the model:", *complaints]))
    for name, parameter in own.items():
        parameter.set_value(tensors[name].astype(np.dtype(str(parameter.dtype).removeprefix("paddle."))))
