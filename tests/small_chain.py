"""A workspace whose chain takes a second: images of noise, and a BLIP-2 of a few thousand parameters with real code.

Only training is a stub: its weights follow from the seed, the training images and stage 1.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_dataset import picture, record, write_labels

from imageclef_vqa.checkpoints.folder import FolderConfig
from imageclef_vqa.checkpoints.layers import own_tensors, save_weights
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.experts.classical import COLOURS_AND_EDGES
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.configs import QFormerConfig, T5Config, VisionConfig
from imageclef_vqa.models.language.languages import build_language
from imageclef_vqa.models.presets import FOLDER, TINY_WEIGHTS, Preset
from imageclef_vqa.pipeline.finetune import finetune_stage
from imageclef_vqa.training.recipe import Recipe
from imageclef_vqa.training.state import TrainerState
from imageclef_vqa.workspace import Workspace

DEVELOPMENT, TEST = 10, 3
RECIPE = Recipe(epochs=1, batch=4, freeze_vision=True, cache_features=False)


def write_small_data(root: Path) -> None:
    """Development images with labels of three answers to each question, and test images without labels."""
    for fold, numbers in (("development", range(DEVELOPMENT)), ("test", range(100, 100 + TEST))):
        (root / "data" / fold / "images").mkdir(parents=True)
        for number in numbers:
            picture(number).save(root / "data" / fold / "images" / f"image{number}.jpg", quality=95)
    records = [
        record(f"image{n}", **{f"q{q.id}": [q.known[(n + q.id * n // 2) % min(3, len(q.known))]] for q in QUESTIONS})
        for n in range(DEVELOPMENT)
    ]
    write_labels(root / "data/development", records)


def write_small_weights(folder: Path) -> Preset:
    """Random weights of a BLIP-2 with `tiny`'s tokenizer."""
    vision = VisionConfig(image_size=32, patch_size=16, width=16, layers=1, heads=2, mlp_width=16)
    qformer = QFormerConfig(
        queries=8,
        width=16,
        layers=1,
        heads=2,
        mlp_width=16,
        vision_width=16,
        vocabulary=384,
        positions=64,
        shared_width=8,
        text="language",
    )
    language = T5Config(
        vocab_size=384, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_decoder_layers=1, num_heads=2, dropout_rate=0.0
    )
    preset = Preset(name=FOLDER, vision=vision, qformer=qformer, language=language, weights=folder)
    folder.mkdir()
    rng, model = np.random.default_rng(1), Blip2(preset, build_language(language))
    parts = {"vision": model.vision, "qformer": model.qformer, "projection": model.projection}
    for part, layer in (parts | {"language": model.language.model}).items():
        tensors = {
            name: _scale(part, name) * rng.standard_normal(tensor.shape).astype("float32")
            if "layer_norm" not in name
            else np.ones(tensor.shape, "float32")
            for name, tensor in own_tensors(layer).items()
        }
        save_weights(folder / f"{part}.safetensors", tensors, {"format": "medvqa"})
    shutil.copy(TINY_WEIGHTS / "spiece.model", folder)
    sources = dict.fromkeys(("vision", "qformer", "projection", "language"), "medvqa")
    FolderConfig(vision=vision, qformer=qformer, language=language, projection=16, sources=sources).write(folder)
    return preset


@functools.cache
def small_preset() -> Preset:
    """These weights in a temporary folder; the same for all tests of a process."""
    folder = Path(tempfile.mkdtemp(prefix="small-weights-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return write_small_weights(folder / "weights")


def _scale(part: str, name: str) -> float:
    """Of the random weights of a layer: what visual tokens say has to weigh more than what the decoder says anyway."""
    if part == "vision":
        return 0.3
    if part != "language" or "EncDecAttention.v" in name or "EncDecAttention.o" in name:
        return 1.0
    return 0.1 if "EncDecAttention" in name else 0.05 if "Attention" in name or "DenseReluDense" in name else 1.0


def _trained(context: Any, *heads: Any) -> dict[str, np.ndarray]:
    """In place of training: a saved state, and the weights that the stage started from, moved by chance."""
    context.stage.save_state({"weight": np.ones(4, "float32")}, TrainerState(epoch=1, total=2))
    config = context.stage.config()
    seed = hashlib.sha256(json.dumps([config.seed, config.training_images]).encode()).digest()
    rng = np.random.default_rng(list(seed))
    tensors = context.model.state_dict()
    parts = ("qformer.", "vision.norm.") if heads else ("qformer.", "vision.norm.", "projection.")
    return {
        name: tensor.numpy() + rng.standard_normal(tensor.shape).astype("float32")
        for name, tensor in tensors.items()
        if name.startswith(parts)
    }


@contextlib.contextmanager
def stubbed_training() -> Iterator[None]:
    """Within the block nothing is trained, and the classical expert's forest is small."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("learn_representation", "learn_to_answer"):
            patch.setattr(f"imageclef_vqa.training.finetune.{name}", _trained)
        patch.setitem(COLOURS_AND_EDGES.models.forest, "n_estimators", 2)
        yield


def train(workspace: Workspace, preset: Preset, number: int, seed: int, **options: Any) -> None:
    """Finish a stage."""
    finetune_stage(workspace, preset, RECIPE, number, seed=seed, notify=lambda _: None, **options)
