"""`medvqa finetune`: from a workspace with data and a split to a trained stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import paddle

from imageclef_vqa.data import Dataset, load_pixels, read_dataset, read_split
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.files import sole_writer
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.presets import PRESETS, Preset
from imageclef_vqa.models.pretrained import load_heads, load_pretrained, pretrained_files
from imageclef_vqa.models.weights import load_weights
from imageclef_vqa.task import learn_vocabulary
from imageclef_vqa.training.checkpoint import MODEL, Stage, StageConfig, file_hash, fingerprint
from imageclef_vqa.training.pairs import PairTable
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
    last: Mapping[str, float]
    resumed: bool
    seconds: float
    trained: bool = True


def finetune(
    workspace: Workspace,
    preset: Preset,
    recipe: Recipe,
    number: int,
    *,
    seed: int,
    fold: int = 0,
    fresh: bool = False,
    say: Callable[[str], None],
) -> Finetuned:
    """Train stage `number` of the workspace's run, going on where an unfinished one stopped.

    Raises:
        MedvqaError: the data, an earlier stage or an unfinished run do not fit; a loss is not finite.
    """
    started = time.monotonic()
    folder = workspace.stage(number)
    stage = Stage(folder, workspace.shown(folder))
    # What is drawn at the start and how tensors are named must not depend on what the process did before.
    with sole_writer(workspace.run_folder), paddle.utils.unique_name.guard():
        paddle.seed(seed)
        dataset = read_dataset(workspace.development, cache=workspace.cache)
        split = read_split(workspace.split_file, dataset)
        if fold >= split.folds:
            raise UsageError(f"--fold {fold}: the split has folds 0 to {split.folds - 1}")
        train_set, val_set = dataset.subset(split.train(fold)), dataset.subset(split.val(fold))
        vocabulary = learn_vocabulary(train_set.labels())
        model, tokenizer = load_pretrained(preset)
        sources = pretrained_files(preset)
        training_images = fingerprint(*split.train(fold))
        if number == 2:
            sources.append(_adopt_qformer(model, workspace, training_images))
        config = StageConfig(
            preset=preset.name,
            stage=number,
            recipe=recipe,
            seed=seed,
            fold=fold,
            data=dataset.fingerprint,
            training_images=training_images,
            weights=fingerprint(*map(file_hash, sources)),
            weights_folder=None if preset.weights == PRESETS[preset.name].weights else str(preset.folder.resolve()),
        )
        if stage.finished and not fresh and not stage.config().differences(config):
            return Finetuned(folder, stage.last_record(), False, time.monotonic() - started, trained=False)
        if resumed := stage.goes_on(config, fresh=fresh):
            say(f"going on with the unfinished run in {stage.shown} (--fresh starts over)")
        else:
            stage.begin(config, vocabulary)

        def fold_of(part: Dataset) -> Fold:
            pixels = load_pixels(part, preset.vision.image_size, workspace.cache)
            return Fold(part, pixels, PairTable(part, vocabulary, tokenizer))

        run = Run(stage, model, recipe, fold_of(train_set), fold_of(val_set), seed)
        stage.finish(learn_representation(run, load_heads(preset)) if number == 1 else learn_to_answer(run))
    return Finetuned(folder, stage.last_record(), resumed, time.monotonic() - started)


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
