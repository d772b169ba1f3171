"""What the benchmarks of training share: the clock, pairs with made-up answers, and the one line that they print."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from imageclef_vqa.data import Dataset, Example
from imageclef_vqa.data.synthetic import sample_scene
from imageclef_vqa.models.language import Tokenizer
from imageclef_vqa.models.presets import TINY_WEIGHTS
from imageclef_vqa.task import learn_vocabulary
from imageclef_vqa.training.pairs import PairTable


def seconds(*works: Callable[[], Any], times: int) -> list[float]:
    """The shortest of so many calls of each, after one that is not counted.

    They take turns, and the shortest counts, because the machine may be busy with other things.
    """
    took: list[list[float]] = [[] for _ in works]
    for turn in range(1 + times):
        for work, of_work in zip(works, took, strict=True):
            started = time.perf_counter()
            work()
            if turn:
                of_work.append(time.perf_counter() - started)
    return [min(of_work) for of_work in took]


def drawn_pairs(images: int) -> PairTable:
    """The 18 questions of so many scenes with their answers; no picture is drawn."""
    examples = []
    for number in range(images):
        answers = sample_scene(np.random.default_rng([7, number])).answers()
        examples.append(Example(f"scene{number}", Path(), answers, "", 8, 8))
    dataset = Dataset(Path(), tuple(examples), (), "")
    return PairTable(dataset, learn_vocabulary(dataset.labels()), Tokenizer(TINY_WEIGHTS / "spiece.model"))


def random_pixels(images: int, size: int) -> np.ndarray:
    """uint8 [images, size, size, 3]; how fast a model is does not depend on what it sees."""
    return np.random.default_rng(0).integers(0, 256, (images, size, size, 3), dtype="uint8")


def report(**results: Any) -> None:
    """One JSON line."""
    print(json.dumps({name: round(value, 7) if isinstance(value, float) else value for name, value in results.items()}))
