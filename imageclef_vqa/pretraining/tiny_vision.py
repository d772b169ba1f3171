"""Train the initial weights of the `tiny` preset: `python -m imageclef_vqa.pretraining.tiny_vision FOLDER`.

FOLDER is the one that `tiny_language` wrote to. The paper starts from a BLIP-2 that was trained on natural images; this
one is trained on rendered scenes. Vision, Q-Former and projection learn to pass the words of each scene's answers to
the frozen language model of `tiny_language`. The scenes have other seeds than those of `medvqa demo`.

Writes one file for each of the three parts. Takes about 15 minutes on two cores.
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
SEED = 20230918  # scene n has the seed [SEED, n]
RECIPE = Recipe(
    epochs=5,
    batch=16,
    learning_rate=1e-3,
    warmup_steps=200,
    decay=True,
    weight_decay=0.05,
    answer_weight=0,
    word_weight=1,
    precision="fp32",
)
SIZE = PRESETS["tiny"].vision.image_size


def draw(number: int) -> tuple[Example, np.ndarray]:
    """The answers of scene `number`, and its image [h, w, 3]."""
    scene = sample_scene(np.random.default_rng([SEED, number]))
    image = render_scene(scene, size=SIZE).resize((SIZE, SIZE))
    return Example(f"scene{number}", Path(), scene.answers(), "", SIZE, SIZE), np.asarray(image)


def main(folder: Path) -> None:
    """Render the scenes and train on them."""
    with ProcessPoolExecutor() as pool:
        examples, images = zip(*pool.map(draw, range(SCENES + HELD_OUT), chunksize=100), strict=True)
    devices.prepare("cpu", seed=SEED)

    from imageclef_vqa.checkpoints.layers import save_weights
    from imageclef_vqa.checkpoints.pretrained import START, load_pretrained
    from imageclef_vqa.training.context import FoldData, StageContext
    from imageclef_vqa.training.pairs import PairTable
    from imageclef_vqa.training.stage2 import learn_to_answer
    from imageclef_vqa.training.state import TrainingFolder

    for name in START:
        (folder / name).unlink(missing_ok=True)
    model, tokenizer = load_pretrained(replace(PRESETS["tiny"], weights=folder))
    assert tokenizer is not None
    dataset = Dataset(folder, examples, (), "")
    vocabulary = learn_vocabulary(dataset.labels())

    def fold(scenes: slice) -> FoldData:
        part = Dataset(folder, examples[scenes], (), "")
        return FoldData(part, np.stack(images[scenes]), PairTable(part, vocabulary, tokenizer))

    stage = TrainingFolder(folder / "tiny_vision", "tiny_vision")
    stage.folder.mkdir(parents=True, exist_ok=True)
    context = StageContext(stage, model, RECIPE, fold(slice(SCENES)), fold(slice(SCENES, None)), SEED)
    tensors = learn_to_answer(context)
    for name in START:
        part = name.removesuffix("safetensors")
        save_weights(folder / name, {n.removeprefix(part): t for n, t in tensors.items() if n.startswith(part)})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
