"""One stage of BLIP-2 from its data to its trained tensors: started, resumed, or found finished."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import paddle

from imageclef_vqa import devices
from imageclef_vqa.checkpoints.language import stored_bits
from imageclef_vqa.checkpoints.pretrained import LANGUAGE
from imageclef_vqa.data import Dataset, load_pixels
from imageclef_vqa.data.augmentation import DrawView, draw_mirrored, draw_view
from imageclef_vqa.devices import Precision
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.environment import size_of
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.planning import Workload, shortage_explained
from imageclef_vqa.training.adapter_keys import check_adapters
from imageclef_vqa.training.checkpoint import Stage
from imageclef_vqa.training.config import StageConfig
from imageclef_vqa.training.context import FoldData, StageContext
from imageclef_vqa.training.features import FeatureStore
from imageclef_vqa.training.neighbours import write_neighbours
from imageclef_vqa.training.pairs import PairTable
from imageclef_vqa.training.recipe import Recipe
from imageclef_vqa.training.replacement import replace_finished
from imageclef_vqa.training.stage1 import learn_representation
from imageclef_vqa.training.stage2 import learn_to_answer
from imageclef_vqa.training.start import StageJob, StartingPoint, load_start
from imageclef_vqa.training.tracking import open_tracker


@dataclass(frozen=True)
class Finetuned:
    """The result of a stage: its folder, the lines of its log that end an epoch, and what this call did.

    `trained` is False if the stage was already finished; `seconds` is the time of this call; `first` is True in the
    process that prints, of `processes`.
    """

    folder: Path
    epochs: Sequence[Mapping[str, Any]]
    resumed: bool
    seconds: float
    trained: bool = True
    processes: int = 1
    first: bool = True

    @property
    def last(self) -> Mapping[str, Any]:
        """The last epoch; empty if there is none."""
        return self.epochs[-1] if self.epochs else {}

    @property
    def kept(self) -> Mapping[str, Any]:
        """The epoch with the weights that were kept: the best on validation images, else the last one."""
        return next((each for each in reversed(self.epochs) if each.get("best")), self.last)


def check_options(preset: Preset, recipe: Recipe) -> Precision:
    """The precision of matrix products on this device.

    It is not part of the recipe where that says "auto": a stage can be resumed on a device with another precision.

    Raises:
        UsageError: the device or the preset cannot do what the recipe asks for.
    """
    device = paddle.get_device()
    precision = devices.best_precision(device) if recipe.precision == "auto" else recipe.precision
    if precision != "fp32" and device == "cpu":
        raise UsageError(
            f"--precision {precision}: the CPU computes in fp32; Paddle's mixed precision has no effect there"
        )
    if recipe.unfreeze > preset.vision.layers:
        raise UsageError(f"--unfreeze {recipe.unfreeze}: {preset.name}'s vision has {preset.vision.layers} blocks")
    check_adapters(preset, recipe.lora_rank)
    if recipe.word_weight and preset.qformer.queries < len(QUESTIONS):
        raise UsageError(
            f"--word-weight {recipe.word_weight:g}: each of {len(QUESTIONS)} questions needs its own query, and "
            f"{preset.name} has {preset.qformer.queries}",
            remedy="--word-weight 0 trains on the answers only",
        )
    return precision


def train_stage(job: StageJob) -> Finetuned:
    """Train a stage. An unfinished one is resumed; a finished one made from the same things is returned as it is.

    With `job.fresh`, a finished stage is trained again in a folder beside it, which replaces it at the end.

    Raises:
        MedvqaError: an earlier stage or an unfinished run do not fit, or the stage is finished and was made from
            something else; a loss is not finite; the split changed.
        ChangedError: a file of a finished stage is not the one that was finished.
    """
    started, precision = time.monotonic(), check_options(job.preset, job.recipe)
    if job.recipe.train_on == "all":
        job = replace(job, train=job.dataset, val=job.dataset.subset([]))
    if not job.processes.first:
        job = replace(job, notify=lambda _message: None)
    processes = job.processes
    kept = f"the last state that was saved of {job.stage.shown} is intact; with other options, --fresh starts over"
    # Random numbers and the names of tensors must not depend on what the process did before.
    with (
        paddle.utils.unique_name.guard(),
        shortage_explained(lambda: _workload(job, precision), kept),
        ExitStack() as trackers,
    ):
        paddle.seed(job.seed)
        start = load_start(job)
        stage, resumed = _unfinished(job, start.config)
        processes.barrier()  # all have read what the first process may now change
        if stage is not None:
            if processes.first:
                if job.track is not None:
                    run = f"{job.workspace.run}-stage{job.number}"
                    stage.log.tracker = trackers.enter_context(open_tracker(job.track, job.workspace.run_folder, run))
                _open(stage, job, start, resumed)
                _announce(job, precision, start.config)
            processes.barrier()
            _run(_context(job, stage, precision, start), stage, start)
        elif processes.first:
            job.stage.clear_state()
    return Finetuned(
        job.stage.folder,
        job.stage.epochs(),
        resumed,
        time.monotonic() - started,
        trained=stage is not None,
        processes=processes.count,
        first=processes.first,
    )


def _unfinished(job: StageJob, config: StageConfig) -> tuple[Stage | None, bool]:
    """The stage to train, and whether it is resumed; None if it is finished and was made from the same things.

    Raises:
        MedvqaError: another unfinished run or another finished stage is there.
    """
    stage, replacement = job.stage, Stage(job.workspace, job.number, replacement=True)
    if not job.fresh and replacement.unfinished and not replacement.config().differences(config):
        return replacement, True
    if not stage.has_model:
        return stage, not job.fresh and stage.can_resume(config)
    if job.fresh:
        return replacement, False
    differences = stage.config().differences(config)
    if replacement.unfinished:
        job.notify(f"{replacement.shown} holds an unfinished --fresh run with other options or data; they resume it")
    if not differences:
        return None, False
    keep = replace(job.workspace, run="NAME").typed(f"medvqa finetune --stage {job.number}")
    raise MedvqaError(
        "\n".join([f"{stage.shown} is finished and was trained from something else:", *differences]),
        remedy=f"with the same options, `{stage.command} --fresh` replaces it and `{keep}` keeps it",
    )


def _workload(job: StageJob, precision: Precision) -> Workload:
    """What `medvqa plan` would plan for this stage; it is shown when memory runs out."""
    preset = replace(job.preset, vision=replace(job.preset.vision, recompute=job.recipe.recompute))
    bits = stored_bits(preset.file(LANGUAGE))
    return job.recipe.workload(preset, job.number, precision=precision, devices=job.processes.count, language_bits=bits)


def _open(stage: Stage, job: StageJob, start: StartingPoint, resumed: bool) -> None:
    """Prepare the stage's folder for the first step, or for the step after the saved state."""
    if not resumed:
        stage.start(start.config, start.vocabulary, start.learnt)
        return
    state = stage.resume(start.config, start.vocabulary, start.learnt)
    where = f"after step {state.total} (epoch {state.epoch + 1})"
    job.notify(f"resuming the unfinished run in {stage.shown}, {where}; --fresh starts over")


def _cached_views(job: StageJob) -> int:
    """How many pictures have their features in the cache: validation images, and every view of training images."""
    recipe = job.recipe
    return (len(job.val.examples) + len(recipe.views) * len(job.train.examples)) * recipe.caches_features


def _announce(job: StageJob, precision: Precision, config: StageConfig) -> None:
    device, count = paddle.get_device(), job.processes.count
    several = f"{count} processes, " if count > 1 else ""
    images = f"{len(job.train.examples)} training images, {len(job.val.examples)} validation images"
    job.notify(f"stage {job.number} of {job.preset.name} on {device}, {several}{precision}: {images}")
    if views := _cached_views(job):
        sizes, folder = job.preset.vision, job.workspace.shown(job.workspace.cache)
        size = size_of(2 * views * sizes.tokens * sizes.width)
        job.notify(f"the features of {views} pictures are computed once and kept in {folder}: {size}")
    stage1 = Stage(job.workspace, 1)
    if job.number == 1 and job.preset.stage1_optional:
        job.notify(
            f"stage 1 is optional for {job.preset.name}: stage 2 starts from it if it is finished, or without it"
        )
    elif job.number == 2 and config.stage1:
        job.notify(f"it starts from {stage1.shown}, record {config.stage1[:12]}")
    elif job.number == 2:
        why = "is unfinished" if stage1.unfinished else "is missing"
        job.notify(f"it starts from the weights of {job.preset.name}: {stage1.shown} {why}, which is optional")
    if job.recipe.precision == "auto" and precision == "fp32" and device.startswith("npu"):
        job.notify("npu-smi does not name this card, so fp32; --precision fp16, or bf16 from 910B on, is faster")


def _context(job: StageJob, stage: Stage, precision: Precision, start: StartingPoint) -> StageContext:
    """The stage with the pixels and pairs of its two folds."""
    recipe, size, cache = job.recipe, job.preset.vision.image_size, job.workspace.cache

    def fold(part: Dataset, draw: DrawView | None) -> FoldData:
        with job.processes.first_goes_ahead():
            pixels = load_pixels(part, size, cache)
        table = PairTable(part, start.vocabulary, start.tokenizer, start.prompt, draw_view=draw)
        return FoldData(part, pixels, table, augmented=draw is not None)

    cached = recipe.caches_features
    draw = (draw_mirrored if cached else draw_view) if recipe.augment else None
    return StageContext(
        stage,
        start.model,
        recipe.model_copy(update={"precision": precision}),
        train=fold(job.train, draw),
        val=fold(job.val, None),
        seed=job.seed,
        features=FeatureStore(cache, start.model.vision) if cached else None,
        processes=job.processes,
        notify=job.notify,
    )


def _run(context: StageContext, stage: Stage, start: StartingPoint) -> None:
    """Train, draw the curves, finish the stage, and put it in the place of the one that it replaces, if any."""
    trained = learn_to_answer(context) if start.heads is None else learn_representation(context, start.heads)
    if context.processes.first:
        if start.heads is None and context.train.pairs.open:
            write_neighbours(context, stage.folder)
        stage.draw()  # before the stage is finished: nothing is done for one that is
        stage.finish(trained, start.config)
        replace_finished(stage.final_folder)
    context.processes.barrier()
