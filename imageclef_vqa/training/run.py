"""What a stage works with: the model, the recipe, and the two folds as pictures and pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imageclef_vqa.data import Dataset
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.training.checkpoint import Stage
from imageclef_vqa.training.features import FeatureStore
from imageclef_vqa.training.pairs import PairTable
from imageclef_vqa.training.recipe import Recipe


@dataclass(frozen=True)
class Fold:
    """Images of one fold: pixels uint8 [i, h, w, 3] and pairs, in the order of the data set's examples."""

    dataset: Dataset
    pixels: np.ndarray
    pairs: PairTable


@dataclass(frozen=True)
class Run:
    """One stage under way; `features` where frozen vision's are to be kept."""

    stage: Stage
    model: Blip2
    recipe: Recipe
    train: Fold
    val: Fold
    seed: int
    features: FeatureStore | None = None
