"""Make what the `tiny` preset starts from again: `python -m imageclef_vqa.synthetic.tiny_vision FOLDER`,
where FOLDER is what `tiny_language` wrote.

The paper starts from a BLIP-2 that has seen natural images; this one has seen rendered ones. Vision, Q-Former and
projection learn to say the words of each scene's answers to the frozen language model that `tiny_language` made. No
photograph is involved, and no scene of `medvqa demo`, whose seeds are others.

Writes a file for each of the three. About 15 minutes on two cores.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from imageclef_vqa import devices
from imageclef_vqa.data import Dataset, Example
from imageclef_vqa.editions import learn_vocabulary
from imageclef_vqa.models.presets import PRESETS
from imageclef_vqa.synthetic import render_scene, sample_scene
from imageclef_vqa.training.recipe import Recipe

SCENES = 12_000
HELD_OUT = 200
SEED = 20230918  # of scenes 0, 1, 2, …: [SEED, number]
RECIPE = Recipe(
    epochs=5,
    batch=16,
    learning_rate=1e-3,
    warmup_steps=200,
    decay=True,
    weight_decay=0.05,
    answer_weight=0,
    word_weight=1,
)
SIZE = PRESETS["tiny"].vision.image_size


def draw(number: int) -> tuple[Example, np.ndarray]:
    """Scene `number` with its answers, and its picture [h, w, 3]."""
    scene = sample_scene(np.random.default_rng([SEED, number]))
    picture = render_scene(scene, size=SIZE).resize((SIZE, SIZE))
    return Example(f"scene{number}", Path(), scene.answers(), "", SIZE, SIZE), np.asarray(picture)


def main(folder: Path) -> None:
    with ProcessPoolExecutor() as pool:
        examples, pictures = zip(*pool.map(draw, range(SCENES + HELD_OUT), chunksize=100), strict=True)
    devices.prepare("cpu", seed=SEED)

    from imageclef_vqa.checkpoints.layers import save_weights
    from imageclef_vqa.checkpoints.pretrained import START, load_pretrained
    from imageclef_vqa.training.checkpoint import Stage
    from imageclef_vqa.training.context import FoldData, StageContext
    from imageclef_vqa.training.pairs import PairTable
    from imageclef_vqa.training.stage2 import learn_to_answer

    for name in START:
        (folder / name).unlink(missing_ok=True)
    model, tokenizer = load_pretrained(replace(PRESETS["tiny"], weights=folder))
    dataset = Dataset(folder, examples, (), "")
    vocabulary = learn_vocabulary(dataset.labels())

    def fold(places: slice) -> FoldData:
        part = Dataset(folder, examples[places], (), "")
        return FoldData(part, np.stack(pictures[places]), PairTable(part, vocabulary, tokenizer))

    stage = Stage(folder / "tiny_vision", "tiny_vision")
    stage.folder.mkdir(parents=True, exist_ok=True)
    context = StageContext(stage, model, RECIPE, fold(slice(SCENES)), fold(slice(SCENES, None)), SEED)
    tensors = learn_to_answer(context)
    for name in START:
        part = name.removesuffix("safetensors")
        save_weights(folder / name, {n.removeprefix(part): t for n, t in tensors.items() if n.startswith(part)})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
