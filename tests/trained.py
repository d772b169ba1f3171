"""Runs whose stage 2 is finished, made without training: a preset's own weights, moved by chance."""

from __future__ import annotations

import hashlib

import numpy as np

from imageclef_vqa.checkpoints.pretrained import load_pretrained, pretrained_files, trained_tensors
from imageclef_vqa.data import make_split, read_dataset, read_split
from imageclef_vqa.editions import learn_vocabulary
from imageclef_vqa.inputs import sha256
from imageclef_vqa.models.language import learn_tokenizer
from imageclef_vqa.models.presets import find_preset
from imageclef_vqa.training.checkpoint import Stage
from imageclef_vqa.training.config import StageConfig, fingerprint
from imageclef_vqa.training.neighbours import Neighbours, cell_means
from imageclef_vqa.training.recipe import choose_recipe
from imageclef_vqa.workspace import Workspace


def write_run(workspace: Workspace, seed: int, noise: float = 0.02) -> None:
    """A finished stage 2 in `workspace`, whose data set is split if it is not yet; the seed says which one.

    It is of `tiny`, or of `tiny-open` where the questions are open.
    """
    dataset = read_dataset(workspace.development, cache=workspace.cache)
    if not workspace.split_file.exists():
        make_split(dataset, val=0.25, cache=workspace.cache).write(workspace.split_file)
    train = dataset.subset(read_split(workspace.split_file, dataset).train(0))
    preset, rng = find_preset("tiny-open" if dataset.open else "tiny"), np.random.default_rng(seed)
    tokenizer = None
    if dataset.open:
        questions = {each.text for example in train.examples for each in example.questions.values()}
        tokenizer = learn_tokenizer({*questions, *(answer for _, (answer,) in train.labels())}, 2048)
    model, _ = load_pretrained(preset)
    stage = Stage(workspace, 2)
    config = StageConfig(
        preset=preset.name,
        stage=2,
        recipe=choose_recipe(2, preset=preset.name, changes={"answer_tokens": 6 if dataset.open else None})[1],
        seed=seed,
        fold=0,
        data=dataset.fingerprint,
        training_images=fingerprint(*(example.image_id for example in train.examples)),
        weights={file.name: sha256(file) for file in pretrained_files(preset)},
        split=sha256(workspace.split_file),
        tokenizer=hashlib.sha256(tokenizer).hexdigest() if tokenizer else "",
    )
    stage.start(config, None if dataset.open else learn_vocabulary(train.labels()), tokenizer)
    if dataset.open:
        features = rng.standard_normal([len(train), preset.vision.tokens, preset.vision.width]).astype("float32")
        Neighbours.fit(cell_means(features), train).write(stage.folder)
    moved = {
        name: tensor + noise * rng.standard_normal(tensor.shape).astype("float32")
        for name, tensor in trained_tensors(model, vision=True).items()
    }
    stage.finish(moved, config)
