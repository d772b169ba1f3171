"""What the benchmarks of training share: the clock, pairs with made-up answers, and the one line that they print."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from imageclef_vqa.training.pairs import PairTable


def turns(*works: Callable[[], Any], times: int) -> np.ndarray:
    """Seconds [times, works] that each call took; the works take turns, after one turn that is not counted."""
    took = np.zeros((1 + times, len(works)))
    for turn in took:
        for index, work in enumerate(works):
            started = time.perf_counter()
            work()
            turn[index] = time.perf_counter() - started
    return took[1:]


def seconds(*works: Callable[[], Any], times: int) -> list[float]:
    """The shortest of so many calls of each: the machine may be busy with other things."""
    return turns(*works, times=times).min(axis=0).tolist()


def drawn_pairs(images: int) -> PairTable:
    """The 18 questions of so many scenes with their answers; no picture is drawn."""
    # Here, because they import Paddle, for which `environment` must have set the environment first.
    from imageclef_vqa.data import Dataset, Example
    from imageclef_vqa.editions import learn_vocabulary
    from imageclef_vqa.models.language import Tokenizer
    from imageclef_vqa.models.presets import TINY_WEIGHTS
    from imageclef_vqa.synthetic import sample_scene
    from imageclef_vqa.training.pairs import PairTable

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
