"""What a stage works with: the model, the recipe, the two folds as pictures and pairs, and who works at it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imageclef_vqa.data import Dataset
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.training.checkpoint import Stage
from imageclef_vqa.training.features import FeatureStore
from imageclef_vqa.training.pairs import PairTable
from imageclef_vqa.training.parallel import Processes
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
    processes: Processes = field(default_factory=Processes)
    tell: Callable[[str], None] = lambda _message: None

    def log(self, record: Mapping[str, Any]) -> None:
        """Write a line of the log, if this is the process that writes."""
        if self.processes.first:
            self.stage.log.add(record)

    def notify(self, message: str) -> None:
        """Tell the user, if this is the process that talks."""
        if self.processes.first:
            self.tell(message)
