"""Train what a preset starts from on rendered scenes: `python -m imageclef_vqa.pretraining.drawn_scenes PRESET FOLDER`.

PRESET is tiny or lite. The paper starts from a BLIP-2 that was trained on natural images; this one is trained on
rendered scenes. Q-Former and projection, and `tiny`'s vision, learn to pass the words of each scene's answers to the
frozen language model of `tiny_language`, which for `tiny` wrote to the same FOLDER. The scenes have other seeds than
those of `medvqa demo`.

Writes one file for each part that was trained. Takes about 15 minutes on two cores. For lite, it takes 5 minutes of one
core, features of the frozen encoder are kept in FOLDER (230 MB), and the files have half precision; few scenes are
enough, since only what reads these features is trained.
"""

from __future__ import annotations

import functools
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imageclef_vqa import devices
from imageclef_vqa.data import Dataset, Example
from imageclef_vqa.editions import learn_vocabulary
from imageclef_vqa.models.presets import PRESETS
from imageclef_vqa.synthetic import render_scene, sample_scene
from imageclef_vqa.training.recipe import Recipe

if TYPE_CHECKING:
    from imageclef_vqa.models.blip2 import Blip2

SCENES = {"tiny": 12_000, "lite": 2_800}
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


def draw(number: int, size: int) -> tuple[Example, np.ndarray]:
    """The answers of scene `number`, and its image [size, size, 3]."""
    scene = sample_scene(np.random.default_rng([SEED, number]))
    image = render_scene(scene, size=size).resize((size, size))
    return Example(f"scene{number}", Path(), scene.answers(), "", size, size), np.asarray(image)


def main(name: str, folder: Path) -> None:
    """Render the scenes and train on them."""
    preset = PRESETS[name]
    frozen = preset.encoder is not None
    with ProcessPoolExecutor() as pool:
        drawn = functools.partial(draw, size=preset.vision.image_size)
        examples, images = zip(*pool.map(drawn, range(SCENES[name] + HELD_OUT), chunksize=100), strict=True)
    devices.prepare("cpu", seed=SEED)

    from imageclef_vqa.checkpoints.layers import save_weights
    from imageclef_vqa.checkpoints.pretrained import START, load_pretrained
    from imageclef_vqa.training.context import FoldData, StageContext
    from imageclef_vqa.training.features import FeatureStore
    from imageclef_vqa.training.pairs import PairTable
    from imageclef_vqa.training.stage2 import learn_to_answer
    from imageclef_vqa.training.state import TrainingFolder

    for file in START:
        (folder / file).unlink(missing_ok=True)
    model, tokenizer = load_pretrained(replace(preset, weights=folder))
    assert tokenizer is not None
    dataset = Dataset(folder, examples, (), "")
    vocabulary = learn_vocabulary(dataset.labels())

    def fold(scenes: slice) -> FoldData:
        part = Dataset(folder, examples[scenes], (), "")
        return FoldData(part, np.stack(images[scenes]), PairTable(part, vocabulary, tokenizer))

    stage = TrainingFolder(folder / "drawn_scenes", "drawn_scenes")
    stage.folder.mkdir(parents=True, exist_ok=True)
    recipe = RECIPE.model_copy(update={"freeze_vision": True, "clip": 1.0} if frozen else {})
    features = FeatureStore(stage.folder, model.vision) if frozen else None
    train, val = fold(slice(SCENES[name])), fold(slice(SCENES[name], None))
    learn_to_answer(StageContext(stage, model, recipe, train, val, SEED, features))
    if frozen:
        fold_norm(model)
    for part in ("qformer", "projection") if frozen else ("vision", "qformer", "projection"):
        tensors = getattr(model, part).state_dict()
        kept = {name: tensor.astype("float16") for name, tensor in tensors.items()} if frozen else tensors
        save_weights(folder / f"{part}.safetensors", kept)


def fold_norm(model: Blip2) -> None:
    """Make the scale and shift of vision's norm a part of the Q-Former's keys and values.

    An encoder from a package comes without BLIP-2's norm, which then starts as the identity.
    """
    norm = model.vision.norm
    scale, shift = norm.weight.numpy(), norm.bias.numpy()
    for layer in model.qformer.layers:
        for linear in (layer.cross_attention.key, layer.cross_attention.value) if layer.cross_attention else ():
            weight = linear.weight.numpy()
            linear.bias.set_value(linear.bias.numpy() + shift @ weight)
            linear.weight.set_value(scale[:, None] * weight)
    norm.weight.set_value(np.ones_like(scale))
    norm.bias.set_value(np.zeros_like(shift))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
