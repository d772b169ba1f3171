"""`medvqa finetune`: from a workspace with data and a split to a trained stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import paddle

from imageclef_vqa import devices
from imageclef_vqa.checkpoints.language import stored_bits
from imageclef_vqa.checkpoints.layers import load_weights
from imageclef_vqa.checkpoints.pretrained import LANGUAGE, load_heads, load_pretrained, pretrained_files
from imageclef_vqa.data import Dataset, load_pixels, read_dataset, read_split
from imageclef_vqa.editions import QUESTIONS, learn_vocabulary
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.files import sha256, sole_writer
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.presets import TINY_WEIGHTS, Preset
from imageclef_vqa.planning import Workload, shortage_explained
from imageclef_vqa.training.checkpoint import MODEL, Stage, StageConfig, fingerprint
from imageclef_vqa.training.features import FeatureStore
from imageclef_vqa.training.pairs import PairTable
from imageclef_vqa.training.parallel import Processes
from imageclef_vqa.training.recipe import Recipe
from imageclef_vqa.training.run import Fold, Run
from imageclef_vqa.training.stage1 import learn_representation
from imageclef_vqa.training.stage2 import learn_to_answer
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class Finetuned:
    """What was done: the stage's folder, its last line of the log, and how long this call took.

    `trained` is false where a finished stage was found that was made from just this.
    """

    folder: Path
    last: Mapping[str, Any]
    resumed: bool
    seconds: float
    trained: bool = True
    processes: int = 1
    first: bool = True  # of the processes: the one that talks


def finetune(
    workspace: Workspace,
    preset: Preset,
    recipe: Recipe,
    number: int,
    *,
    seed: int,
    fold: int = 0,
    fresh: bool = False,
    notify: Callable[[str], None],
) -> Finetuned:
    """Train stage `number` of the workspace's run, going on where an unfinished one stopped.

    Raises:
        MedvqaError: the data, an earlier stage or an unfinished run do not fit; a loss is not finite.
    """
    started = time.monotonic()
    device = paddle.get_device()
    # Not a part of the recipe where it is left open: a run may go on upon a device that has another.
    precision = devices.best_precision(device) if recipe.precision == "auto" else recipe.precision
    if precision != "fp32" and device == "cpu":
        raise UsageError(
            f"--precision {precision}: the CPU computes in fp32; Paddle's mixed precision does nothing there"
        )
    if recipe.word_weight and preset.qformer.queries < len(QUESTIONS):
        raise UsageError(
            f"--word-weight {recipe.word_weight:g}: each of {len(QUESTIONS)} questions needs a query of its own, and "
            f"{preset.name} has {preset.qformer.queries}",
            remedy="--word-weight 0 learns from the answers alone",
        )
    folder = workspace.stage(number)
    stage = Stage(folder, workspace.shown(folder))
    processes = Processes.start()
    writing = sole_writer(workspace.run_folder) if processes.first else nullcontext()

    def workload() -> Workload:
        recomputing = replace(preset, vision=replace(preset.vision, recompute=recipe.recompute))
        bits = stored_bits(preset.folder / LANGUAGE)
        return recipe.workload(recomputing, number, precision=precision, devices=processes.count, language_bits=bits)

    kept = f"the last state that was saved in {stage.shown} is whole; with other options, --fresh starts over"
    # What is drawn at the start and how tensors are named must not depend on what the process did before.
    with writing, paddle.utils.unique_name.guard(), shortage_explained(workload, kept), processes.loss_explained():
        paddle.seed(seed)
        with processes.first_goes_ahead():
            dataset = read_dataset(workspace.development, cache=workspace.cache)
            split = read_split(workspace.split_file, dataset)
        if fold >= split.folds:
            raise UsageError(f"--fold {fold}: the split has folds 0 to {split.folds - 1}")
        train_set, val_set = dataset.subset(split.train(fold)), dataset.subset(split.val(fold))
        if recipe.train_on == "all":
            train_set, val_set = dataset, dataset.subset([])
        vocabulary = learn_vocabulary(train_set.labels())
        model, tokenizer = load_pretrained(preset)
        if number == 1:
            heads, tokenizer = load_heads(preset)
        model.vision.recompute, model.share_prefix = recipe.recompute, recipe.share_prefix
        sources = {file.name: sha256(file) for file in pretrained_files(preset)}
        training_images = fingerprint(*(example.image_id for example in train_set.examples))
        if number == 2:
            qformer = _adopt_qformer(model, workspace, training_images)
            sources |= {f"stage 1's {qformer.name}": sha256(qformer)}
        config = StageConfig(
            preset=preset.name,
            stage=number,
            recipe=recipe,
            seed=seed,
            fold=fold,
            data=dataset.fingerprint,
            training_images=training_images,
            weights_folder=None if preset.weights == TINY_WEIGHTS else str(preset.folder.resolve()),
            weights=sources,
        )
        finished = stage.finished and not fresh and not stage.config().differences(config)
        resumed = not finished and stage.goes_on(config, fresh=fresh)
        processes.wait()  # until all have seen what the first one is about to change
        if finished:
            stage.clear_leftovers()
            return Finetuned(
                folder, stage.last_epoch(), False, time.monotonic() - started, trained=False, first=processes.first
            )
        if processes.first:
            if resumed:
                notify(f"{stage.go_on()} (--fresh starts over)")
            else:
                stage.begin(config, vocabulary)
            several = f"{processes.count} processes, " if processes.count > 1 else ""
            images = f"{len(train_set.examples)} images to learn from, {len(val_set.examples)} to validate on"
            notify(f"stage {number} of {preset.name} on {device}, {several}{precision}: {images}")
            if recipe.precision == "auto" and precision == "fp32" and device.startswith("npu"):
                notify("no npu-smi names this card, so fp32; --precision fp16, or bf16 from 910B on, is faster")
        processes.wait()

        def fold_of(part: Dataset, *, augment: bool) -> Fold:
            with processes.first_goes_ahead():
                pixels = load_pixels(part, preset.vision.image_size, workspace.cache)
            table = PairTable(part, vocabulary, tokenizer, longest=recipe.answer_tokens, augment=augment)
            return Fold(part, pixels, table)

        keep = recipe.freeze_vision and recipe.cache_features
        features = FeatureStore(workspace.cache, model.vision, preset.vision) if keep else None
        train_fold, val_fold = fold_of(train_set, augment=recipe.augment), fold_of(val_set, augment=False)
        computed = recipe.model_copy(update={"precision": precision})
        run = Run(stage, model, computed, train_fold, val_fold, seed, features, processes, notify)
        trained = learn_representation(run, heads) if number == 1 else learn_to_answer(run)
        if processes.first:
            stage.finish(trained)
            stage.draw()
        processes.wait()
    took = time.monotonic() - started
    return Finetuned(folder, stage.last_epoch(), resumed, took, processes=processes.count, first=processes.first)


def _adopt_qformer(model: Blip2, workspace: Workspace, training_images: str) -> Path:
    """Start stage 2 from the Q-Former of stage 1; returns the file that it came from.

    Raises:
        MissingStepError: there is no finished stage 1.
        MedvqaError: it learnt from other images: it may have seen those that validate now.
    """
    folder = workspace.stage(1)
    stage = Stage(folder, workspace.shown(folder))
    tensors = stage.trained(1)
    if stage.config().training_images != training_images:
        raise MedvqaError(
            f"{stage.shown} was trained on another split than {workspace.shown(workspace.split_file)}",
            remedy="`medvqa finetune --stage 1` trains it on this one",
        )
    own = {name.removeprefix("qformer."): tensor for name, tensor in tensors.items()}
    load_weights(model.qformer, own, str(folder / MODEL))
    return folder / MODEL
