"""The output of vision's last layer for a fold's images, cached where nothing that it depends on changes.

i images, p patches, d width of the vision encoder.
"""

from __future__ import annotations

import numpy as np
import paddle
from paddle import Tensor

from imageclef_vqa.data.augmentation import MIRRORED, PLAIN
from imageclef_vqa.training.context import FoldData, StageContext
from imageclef_vqa.training.features import rounded_features
from imageclef_vqa.training.pairs import Batch


class VisionFeatures:
    """Vision's features of a fold's images, before its norm, from the cache or computed at each call.

    Those of a frozen encoder are rounded to fp16 in both cases, so the cache changes no loss.
    """

    def __init__(self, context: StageContext, fold: FoldData) -> None:
        self._vision, self._pixels, self._frozen = context.model.vision, fold.pixels, not context.recipe.trains_vision
        views = MIRRORED if fold.augmented else (PLAIN,)
        self._cached = {view: store.of(fold.pixels, view) for view in views} if (store := context.features) else None

    def __call__(self, batch: Batch) -> Tensor:
        """Features [i, 1 + p, d] of a batch's images, each in its view.

        Raises:
            KeyError: the features are cached, but not those of a view.
        """
        if self._cached is not None:
            rows = [self._cached[view][image] for image, view in zip(batch.images, batch.views, strict=True)]
            return paddle.to_tensor(np.stack(rows)).astype("float32")
        pixels = np.stack(
            [view.apply(self._pixels[image]) for image, view in zip(batch.images, batch.views, strict=True)]
        )
        if self._frozen:
            return rounded_features(self._vision, pixels).astype("float32")
        return self._vision.features(self._vision.normalise(pixels))
