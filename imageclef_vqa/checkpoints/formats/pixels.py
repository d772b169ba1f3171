"""With which mean and deviation a source's pixels are normalised."""

from __future__ import annotations

from typing import Any

import numpy as np

from imageclef_vqa.checkpoints.folder import CONFIG
from imageclef_vqa.checkpoints.formats.fields import Fields
from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inputs import read_json
from imageclef_vqa.models.configs.encoder import Statistics
from imageclef_vqa.models.encoder import STATISTICS

_PREPROCESSOR = "preprocessor_config.json"


def statistics_of(source: Source, default: str) -> Statistics:
    """The name of the mean and the deviation that the source's pixels are normalised with.

    Raises:
        MedvqaError: they are none of those that are known.
    """
    beside = source.path / _PREPROCESSOR
    config = Fields(source.config or {}, str(source.path / CONFIG)).table("pretrained_cfg", {})
    found = [config.get("mean"), config.get("std")]
    if found == [None, None] and beside.is_file():
        fields = Fields(read_json(beside), str(beside))
        found = [fields.get("image_mean"), fields.get("image_std")]
    for name, known in STATISTICS.items():
        if name == default if found == [None, None] else all(map(_near, found, known)):
            return name
    mean, deviation = found
    raise MedvqaError(
        f"{source.path}: pixels are normalised with mean {mean} and deviation {deviation}; known are "
        + ", ".join(f"{name} {list(mean)}" for name, (mean, _) in STATISTICS.items())
    )


def _near(given: Any, known: tuple[float, ...]) -> bool:
    """Whether a value of a config is `known`, or missing."""
    numbers = isinstance(given, list) and len(given) == 3 and all(type(each) in (int, float) for each in given)
    return given is None or (numbers and np.allclose(given, known, atol=1e-3))
