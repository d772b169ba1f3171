"""What a stage trains with: model, recipe, the images and pairs of both folds, and the processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imageclef_vqa.data import Dataset
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.training.features import FeatureStore
from imageclef_vqa.training.pairs import PairTable
from imageclef_vqa.training.parallel import Processes
from imageclef_vqa.training.recipe import Recipe
from imageclef_vqa.training.state import TrainingFolder


@dataclass(frozen=True)
class FoldData:
    """The images of one fold: pixels uint8 [i, h, w, 3] and pairs, in the order of the data set's examples.

    `augmented`: the pairs come in random views.
    """

    dataset: Dataset
    pixels: np.ndarray
    pairs: PairTable
    augmented: bool = False


@dataclass(frozen=True)
class StageContext:
    """Everything that a stage's functions share; `features` is None unless vision's features are cached."""

    stage: TrainingFolder
    model: Blip2
    recipe: Recipe
    train: FoldData
    val: FoldData
    seed: int
    features: FeatureStore | None = None
    processes: Processes = field(default_factory=Processes)
    notify: Callable[[str], None] = lambda _message: None

    def log(self, record: Mapping[str, Any]) -> None:
        """Write a line to the stage's log, in the first process only."""
        if self.processes.first:
            self.stage.log.add(record)
