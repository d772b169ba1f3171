"""Runs whose stage 2 is finished, made without training: `tiny`'s own weights, moved by chance."""

from __future__ import annotations

import numpy as np

from imageclef_vqa import runtime
from imageclef_vqa.data import make_split, read_dataset, read_split
from imageclef_vqa.workspace import Workspace

runtime.prepare("cpu", seed=0)

from imageclef_vqa.models.presets import find_preset  # noqa: E402  (after the environment is set for Paddle)
from imageclef_vqa.models.pretrained import load_pretrained, trained_tensors  # noqa: E402
from imageclef_vqa.task import learn_vocabulary  # noqa: E402
from imageclef_vqa.training.checkpoint import Stage, StageConfig, fingerprint  # noqa: E402
from imageclef_vqa.training.recipe import choose_recipe  # noqa: E402


def write_run(place: Workspace, seed: int, noise: float = 0.02) -> None:
    """A finished stage 2 in `place`, whose data set is split if it is not yet; the seed says which one."""
    dataset = read_dataset(place.development, cache=place.cache)
    if not place.split_file.exists():
        make_split(dataset, val=0.25, cache=place.cache).write(place.split_file)
    train = read_split(place.split_file, dataset).train(0)
    preset, rng = find_preset("tiny"), np.random.default_rng(seed)
    model, _ = load_pretrained(preset)
    stage = Stage(place.stage(2), place.shown(place.stage(2)))
    config = StageConfig(
        preset=preset.name,
        stage=2,
        recipe=choose_recipe(2)[1],
        seed=seed,
        fold=0,
        data=dataset.fingerprint,
        training_images=fingerprint(*train),
        weights={},
    )
    stage.begin(config, learn_vocabulary(dataset.subset(train).labels()))
    moved = {
        name: tensor + noise * rng.standard_normal(tensor.shape).astype("float32")
        for name, tensor in trained_tensors(model, vision=True).items()
    }
    stage.finish(moved)
