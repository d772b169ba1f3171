"""The classical expert on what an ImageNet-trained encoder makes of an image: its patches, averaged over 3 × 3 cells.

i images, p patches, d width.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imageclef_vqa.checkpoints.packaged import load_encoder, packaged_weights, require_packaged_weights
from imageclef_vqa.data import Dataset, load_pixels
from imageclef_vqa.data.augmentation import MIRRORED, View
from imageclef_vqa.experts.answers import FEATURES
from imageclef_vqa.experts.classical import Descriptor, Models
from imageclef_vqa.experts.descriptors import Floats
from imageclef_vqa.inputs import sha256
from imageclef_vqa.models.configs import EFFICIENTNET_LITE
from imageclef_vqa.statistics import CELLS, cell_means

if TYPE_CHECKING:
    from imageclef_vqa.models.encoder import Encoder

ENCODER = "efficientnet-lite2"
_SIZES = EFFICIENTNET_LITE[ENCODER]
# With standardised features, components have f in sum of squares: the penalty is relative to that.
_MODELS = Models(
    kernel={"kernel": "linear", "n_components": 256},
    regression={"C": 10.0 / (CELLS**2 * _SIZES.width), "max_iter": 2000},
)


def available() -> bool:
    """Whether the encoder's weights are installed."""
    return packaged_weights(ENCODER) is not None


def descriptor() -> Descriptor:
    """What the expert sees.

    Raises:
        MedvqaError: the encoder's weights are not installed.
    """
    weights = sha256(require_packaged_weights(ENCODER))
    version = f"{ENCODER} {weights[:16]}, means over {CELLS} x {CELLS} cells, {len(MIRRORED)} mirrored views"
    return Descriptor(FEATURES, version, _describe, _MODELS, MIRRORED)


@cache
def _encoder() -> Encoder:
    return load_encoder(ENCODER)


def _describe(dataset: Dataset, folder: Path | None, view: View) -> Floats:
    """The means [i, f] of each cell's patches; the patches are cached in `folder`. Imports Paddle."""
    from imageclef_vqa.training.features import FeatureStore, rounded_features

    pixels = load_pixels(dataset, _SIZES.image_size, folder)
    if folder is None:
        seen = (view.apply(image)[None] for image in pixels)
        return np.concatenate([cell_means(rounded_features(_encoder(), image).numpy()) for image in seen])
    stored = FeatureStore(folder, _encoder()).of(pixels, view)
    return np.concatenate([cell_means(stored[np.array([index])]) for index in range(len(stored))])
