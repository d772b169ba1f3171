"""What a stage starts from: the pretrained model, the Q-Former of stage 1, and the config that records both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from imageclef_vqa.checkpoints.pretrained import (
    load_heads,
    load_pretrained,
    load_trained,
    pretrained_files,
    random_parts,
)
from imageclef_vqa.data import Dataset
from imageclef_vqa.editions import Vocabulary, learn_vocabulary
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inputs import sha256
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.language import Prompt, Tokenizer, learn_tokenizer
from imageclef_vqa.models.language.adapters import add_adapters
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.models.pretraining_heads import PretrainingHeads
from imageclef_vqa.training.checkpoint import Stage
from imageclef_vqa.training.config import MODEL, StageConfig, fingerprint
from imageclef_vqa.training.parallel import Processes
from imageclef_vqa.training.recipe import Recipe
from imageclef_vqa.training.tracking import Service
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class StageJob:
    """A stage to train on the fold `train` and to validate on `val`, both parts of the development set `dataset`."""

    number: int
    preset: Preset
    recipe: Recipe
    seed: int
    fresh: bool = False
    from_scratch_parts: bool = False  # whether a whole branch may start at random
    workspace: Workspace
    dataset: Dataset
    train: Dataset
    val: Dataset
    fold: int  # the index of `val` in the split, for the record
    split: str  # SHA-256 of the split's file, for the record
    track: Service | None = None
    processes: Processes
    notify: Callable[[str], None]

    @property
    def stage(self) -> Stage:
        return Stage(self.workspace, self.number)


@dataclass(frozen=True)
class StartingPoint:
    """A stage before its first step.

    `heads` and the tokenizer of their texts belong to stage 1, `prompt` to stage 2, `vocabulary` to closed questions,
    and `learnt`, the file of the tokenizer, to a language model that learns.
    """

    model: Blip2
    heads: PretrainingHeads | None
    tokenizer: Tokenizer
    vocabulary: Vocabulary | None
    config: StageConfig
    prompt: Prompt | None = None
    learnt: bytes | None = None


def load_start(job: StageJob) -> StartingPoint:
    """The starting point of a stage.

    Raises:
        MissingStepError: stage 2 has no finished stage 1, and the preset needs one.
        MedvqaError: weights are missing or do not fit, a whole branch would start at random, or stage 1 was trained on
            other data or another split.
        ChangedError: a file of stage 1 is not the one that was finished.
    """
    preset, recipe = job.preset, job.recipe
    _check_random_parts(job)
    model, tokenizer = load_pretrained(preset)
    model.vision.recompute, model.share_prefix = recipe.recompute, recipe.share_prefix
    images = fingerprint(*job.train.image_ids)
    config = StageConfig(
        preset=preset.name,
        stage=job.number,
        recipe=recipe,
        seed=job.seed,
        fold=job.fold,
        data=job.dataset.fingerprint,
        training_images=images,
        weights_folder=str(preset.own_weights.resolve()) if preset.own_weights else None,
        weights={file.name: sha256(file) for file in pretrained_files(preset)},
        split=job.split,
        prompt=model.preset.language.prompt,
        question_end=model.preset.language.question_end,
    )
    heads, prompt, learnt = None, None, None
    if job.number == 1:
        heads, tokenizer = load_heads(preset)
    if tokenizer is None:
        learnt = learn_tokenizer(_texts(job.train), preset.language.vocab_size)
        tokenizer = Tokenizer(learnt)
        config = config.model_copy(update={"tokenizer": hashlib.sha256(learnt).hexdigest()})
    if job.number == 2:
        prompt = Prompt(model.preset.language, tokenizer)
        config = config.model_copy(update={"stage1": _load_stage1(model, job, config)})
        if recipe.adapters is not None:
            add_adapters(model.language, model.preset.language, recipe.adapters)
    vocabulary = None if job.dataset.open else learn_vocabulary(job.train.labels())
    return StartingPoint(model, heads, tokenizer, vocabulary, config, prompt, learnt)


def _check_random_parts(job: StageJob) -> None:
    """Say which parts start at random, and stop if a whole branch does, unless that is asked for."""
    from_stage1 = job.number == 2 and not (job.preset.stage1_optional and not Stage(job.workspace, 1).has_model)
    branches, small = random_parts(job.preset, job.number, from_stage1=from_stage1)
    if branches and not job.from_scratch_parts:
        where = job.preset.weights or f"preset {job.preset.name}"
        published = f", {job.preset.published}" if job.preset.sources else ""
        raise MedvqaError(
            f"{where} has no weights for {' and '.join(branches)}, which would start at random",
            remedy=f"`medvqa weights convert SRC DST` adds them{published}; --from-scratch-parts trains all the same",
        )
    if random := branches + small:
        job.notify(f"start at random: {', '.join(random)}; all other parts start from weights")


def _texts(dataset: Dataset) -> Iterator[str]:
    """The open questions and the sentences of a data set."""
    for example in dataset.examples:
        yield from (question.text for question in example.questions.values())
        yield from (sentence for answers in example.answers.values() for sentence in answers)


def _load_stage1(model: Blip2, job: StageJob, config: StageConfig) -> str | None:
    """Load what stage 1 trained, Q-Former and vision's norm, into `model`; returns the digest of stage 1's record.

    None if there is no finished stage 1, and the preset does not need one.
    """
    workspace, stage = job.workspace, Stage(job.workspace, 1)
    if job.preset.stage1_optional and not stage.has_model:
        return None
    digest, before = stage.check().digest, stage.config()
    remedy = f"`{stage.command} --fresh` trains it on this one"
    # Otherwise stage 1 may have seen the images that validate now.
    if (before.training_images, before.split) != (config.training_images, config.split):
        split = workspace.shown(workspace.split_file)
        raise MedvqaError(f"{stage.shown} was trained on another split than {split}", remedy=remedy)
    if before.data != config.data:
        data = workspace.shown(workspace.development)
        raise MedvqaError(f"{stage.shown} was trained on another data set than {data}", remedy=remedy)
    load_trained(model, stage.trained(), str(stage.folder / MODEL), ("qformer", "vision.norm"))
    return digest
