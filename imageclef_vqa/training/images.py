"""Patches of a fold's images, kept where nothing that makes them changes.

i images, p patches, d width of the vision part.
"""

from __future__ import annotations

import numpy as np
import paddle
from paddle import Tensor

from imageclef_vqa.data.augmentation import PLAIN
from imageclef_vqa.models.vision import normalise
from imageclef_vqa.training.features import rounded_features
from imageclef_vqa.training.pairs import Batch
from imageclef_vqa.training.run import Fold, Run


class Patches:
    """The patches of a fold's images: from pixels at each call, or kept once for all.

    Frozen vision's are rounded to fp16 either way, so that keeping them changes no loss.
    """

    def __init__(self, run: Run, fold: Fold) -> None:
        self._vision, self._pixels, self._frozen = run.model.vision, fold.pixels, run.recipe.freeze_vision
        self._kept = run.features.of(fold.pixels) if run.features is not None else None

    def __call__(self, batch: Batch) -> Tensor:
        """Patches [i, 1 + p, d] of a batch's images, each in its view.

        Raises:
            ValueError: a view changes its picture, but features are kept.
        """
        if self._kept is not None:
            if any(view != PLAIN for view in batch.views):
                raise ValueError("kept features are those of pictures as they are")
            return paddle.to_tensor(self._kept[batch.images]).astype("float32")
        pixels = np.stack(
            [view.apply(self._pixels[image]) for image, view in zip(batch.images, batch.views, strict=True)]
        )
        return (
            rounded_features(self._vision, pixels).astype("float32")
            if self._frozen
            else self._vision(normalise(pixels))
        )
