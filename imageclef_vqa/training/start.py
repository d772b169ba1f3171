"""What a stage starts from: the pretrained model, the Q-Former of stage 1, and the config that records both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imageclef_vqa.checkpoints.layers import load_weights
from imageclef_vqa.checkpoints.pretrained import load_heads, load_pretrained, pretrained_files
from imageclef_vqa.data import Dataset
from imageclef_vqa.editions import Vocabulary, learn_vocabulary
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.files import sha256
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.language import Tokenizer
from imageclef_vqa.models.presets import TINY_WEIGHTS, Preset
from imageclef_vqa.models.pretraining_heads import PretrainingHeads
from imageclef_vqa.training.checkpoint import MODEL, Stage, StageConfig
from imageclef_vqa.training.config import fingerprint
from imageclef_vqa.training.parallel import Processes
from imageclef_vqa.training.recipe import Recipe
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class StageJob:
    """A stage to train on the fold `train` and to validate on `val`, both parts of the development set `dataset`."""

    number: int
    preset: Preset
    recipe: Recipe
    seed: int
    fresh: bool = False
    workspace: Workspace
    dataset: Dataset
    train: Dataset
    val: Dataset
    fold: int  # the index of `val` in the split, for the record
    processes: Processes
    notify: Callable[[str], None]

    @property
    def stage(self) -> Stage:
        folder = self.workspace.stage(self.number)
        return Stage(folder, self.workspace.shown(folder))


@dataclass(frozen=True)
class StartingPoint:
    """A stage before its first step; `heads` and the tokenizer of their texts belong to stage 1."""

    model: Blip2
    heads: PretrainingHeads | None
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    config: StageConfig


def load_start(job: StageJob) -> StartingPoint:
    """The starting point of a stage.

    Raises:
        MissingStepError: stage 2 has no finished stage 1.
        MedvqaError: weights are missing or do not fit, or stage 1 was trained on other images.
    """
    preset, recipe = job.preset, job.recipe
    model, tokenizer = load_pretrained(preset)
    model.vision.recompute, model.share_prefix = recipe.recompute, recipe.share_prefix
    images = fingerprint(*(example.image_id for example in job.train.examples))
    weights, heads = {file.name: sha256(file) for file in pretrained_files(preset)}, None
    if job.number == 1:
        heads, tokenizer = load_heads(preset)
    else:
        weights[f"stage 1's {MODEL}"] = _load_qformer(model, job.workspace, images)
    config = StageConfig(
        preset=preset.name,
        stage=job.number,
        recipe=recipe,
        seed=job.seed,
        fold=job.fold,
        data=job.dataset.fingerprint,
        training_images=images,
        weights_folder=None if preset.weights == TINY_WEIGHTS else str(preset.folder.resolve()),
        weights=weights,
    )
    return StartingPoint(model, heads, tokenizer, learn_vocabulary(job.train.labels()), config)


def _load_qformer(model: Blip2, workspace: Workspace, training_images: str) -> str:
    """Load the Q-Former of stage 1 into `model`; returns the SHA-256 of its file."""
    folder = workspace.stage(1)
    stage = Stage(folder, workspace.shown(folder))
    tensors = stage.trained(1)
    if stage.config().training_images != training_images:  # it may have seen the images that validate now
        raise MedvqaError(
            f"{stage.shown} was trained on another split than {workspace.shown(workspace.split_file)}",
            remedy="`medvqa finetune --stage 1` trains it on this one",
        )
    qformer = {name.removeprefix("qformer."): tensor for name, tensor in tensors.items()}
    load_weights(model.qformer, qformer, str(folder / MODEL))
    return sha256(folder / MODEL)
