"""Patches of a fold's images, kept where nothing that makes them learns.

i images, p patches, d width of the vision part.
"""

from __future__ import annotations

import numpy as np
import paddle
from paddle import Tensor

from imageclef_vqa.models.vision import VisionTransformer, normalise
from imageclef_vqa.progress import track

_AT_ONCE = 32


class Patches:
    """The patches of a data set's images: made from pixels at each call, or once for all if vision is frozen."""

    def __init__(self, vision: VisionTransformer, pixels: np.ndarray, *, frozen: bool) -> None:
        self._vision, self._pixels = vision, pixels
        self._kept = self._make_all() if frozen else None

    def __call__(self, images: np.ndarray) -> Tensor:
        """Patches [i, p, d] of the images at these places."""
        if self._kept is not None:
            return paddle.to_tensor(self._kept[images])
        return self._vision(normalise(self._pixels[images]))

    def _make_all(self) -> np.ndarray:
        self._vision.eval()
        starts = range(0, len(self._pixels), _AT_ONCE)
        with paddle.no_grad():
            return np.concatenate(
                [
                    self._vision(normalise(self._pixels[start : start + _AT_ONCE])).numpy()
                    for start in track(starts, "vision, once for all", len(starts))
                ]
            )
