"""Test-time augmentation that changes no answer: small changes of brightness and contrast. Pixels are uint8.

Flips and crops would move locations such as "Upper-left", and changes of hue would change colours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_MIDDLE = 128.0


def _brightness(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: np.clip(np.rint(pixels * np.float32(factor)), 0, 255).astype(np.uint8)


def _contrast(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: np.clip(
        np.rint((pixels - np.float32(_MIDDLE)) * np.float32(factor) + np.float32(_MIDDLE)), 0, 255
    ).astype(np.uint8)


VIEWS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda pixels: pixels,
    _brightness(0.92),
    _brightness(1.08),
    _contrast(0.92),
    _contrast(1.08),
)
