"""The training loop of both stages: epochs of steps, checks for finite losses, saved states, the best epoch."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import paddle
from paddle import Tensor, nn

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.training.clock import Clock
from imageclef_vqa.training.context import StageContext
from imageclef_vqa.training.display import TrainingDisplay
from imageclef_vqa.training.optimiser import Optimiser
from imageclef_vqa.training.pairs import Batch
from imageclef_vqa.training.parallel import Shard
from imageclef_vqa.training.state import TrainerState

Losses = Callable[[Shard, np.random.Generator], Mapping[str, Tensor]]
Record = dict[str, float]

MAX_SKIPPED = 3  # steps in a row that are not finite


def set_trainable(model: nn.Layer, trainable: Mapping[str, bool]) -> dict[str, Tensor]:
    """Freeze all parameters but the trainable ones, which are returned by name.

    `trainable` maps patterns of parameter names to whether those parameters are trained.

    Raises:
        ValueError: a parameter matches no pattern, or more than one.
    """
    chosen = {}
    for name, parameter in model.named_parameters():
        matches = [flag for pattern, flag in trainable.items() if re.fullmatch(pattern, name)]
        if len(matches) != 1:
            raise ValueError(f"{name}: covered by {len(matches)} lines of the table of trainable parameters")
        parameter.stop_gradient = not matches[0]
        if matches[0]:
            chosen[name] = parameter
    return chosen


def layer_rates(names: Mapping[str, Tensor], decay: float) -> dict[str, float]:
    """Factors on the learning rate of vision's parameters: 1 for the final norm, `decay` for the last layer, `decay`²
    for the layer below, … (Bao et al. 2022, section 3.2)."""
    vision = [name for name in names if re.match(r"(blip2\.)?vision\.", name)]
    layer = {name: int(found[1]) if (found := re.search(r"\.layers\.(\d+)\.", name)) else -1 for name in vision}
    top = max(layer.values(), default=-1) + 1
    return {name: 1.0 if "vision.norm." in name else decay ** (top - layer[name]) for name in vision}


def train(
    context: StageContext,
    model: nn.Layer,
    trainable: Mapping[str, bool],
    losses: Losses,
    *,
    questions: int,
    validate: Callable[[], Record],
    score: Callable[[Record], float],
    references: Callable[[Batch], Mapping[str, float]] = lambda _batch: {},
) -> None:
    """Minimise the sum of `losses` over the recipe's epochs, resuming from the stage's state if there is one.

    `losses` returns what a shard contributes to each loss of its batch. At the end the model has the weights of the
    epoch with the best `score` of what `validate` returned; without validation, those of the last epoch. While it runs,
    a batch's losses are shown beside its `references`.

    The random numbers of a step follow from seed, epoch and step, so a resumed run ends with the weights of a run that
    was never stopped.

    Raises:
        MedvqaError: three steps in a row are not finite; the message names the images. The last state is kept.
    """
    recipe, stage = context.recipe, context.stage
    parameters = set_trainable(model, trainable)
    optimiser = Optimiser(parameters, recipe, context.processes, layer_rates(parameters, recipe.layer_decay))
    state = TrainerState()
    if stage.unfinished:
        tensors, state = stage.load_state(recipe.epochs)
        optimiser.load(tensors, state)
    per_epoch = context.train.pairs.batches(recipe.batch, recipe.batch_unit)
    clock = Clock(state.seconds, recipe.max_minutes, enabled=context.processes.first)
    with TrainingDisplay(stage.shown, recipe.epochs, per_epoch, references, shown=context.processes.first) as display:
        while state.epoch < recipe.epochs and not state.ended:
            for batch, rng in _remaining_batches(context, state, questions):
                parts, due = _add_gradients(context, batch, losses, rng, optimiser.scale, clock.due())
                norm = optimiser.step(recipe.rate(state.total, recipe.epochs * per_epoch))
                state.step, state.total = state.step + 1, state.total + 1
                _log_step(context, state, batch, parts, norm, optimiser)
                display.show(state, parts, batch)
                if due["stop"]:
                    state.ended = True
                    break
                if due["save"]:
                    _save(context, state, optimiser, clock)
            _end_epoch(context, state, optimiser, validate, score, clock)
            _save(context, state, optimiser, clock)
            if context.processes.first and clock.draw_due():
                stage.draw()
    if state.best is None:
        optimiser.take_average()
    else:
        stage.load_best(parameters)


def _remaining_batches(
    context: StageContext, state: TrainerState, questions: int
) -> Iterator[tuple[Batch, np.random.Generator]]:
    """The batches of the current epoch after `state.step`, each with the random generator of its step."""
    recipe, order = context.recipe, np.random.default_rng([context.seed, state.epoch])
    done = state.step
    for number, batch in enumerate(context.train.pairs.epoch(recipe.batch, questions, order, recipe.batch_unit)):
        if number >= done:
            yield batch, np.random.default_rng([context.seed, state.epoch, number])


def _add_gradients(
    context: StageContext, batch: Batch, losses: Losses, rng: np.random.Generator, scale: float, due: Record
) -> tuple[Record, Record]:
    """Add the gradients of this process's shards; returns the losses and `due`, each summed over all processes."""
    seed = int(rng.integers(2**31))
    sums = Counter[str]()
    for shard in context.processes.shards(batch, context.recipe.accumulate):
        paddle.seed(seed)
        with shard.dropout_rows():  # around the backward pass too: `recompute` drops out again there
            with products_in(context.recipe.precision):
                parts = losses(shard, rng)
            total = paddle.add_n(list(parts.values()))
            (total if scale == 1.0 else total * scale).backward()
        sums.update({name: float(part) for name, part in parts.items()})
    reduced = iter(context.processes.sum([*sums.values(), *due.values()]))
    return {name: next(reduced) for name in sums}, {name: next(reduced) for name in due}


def products_in(precision: str) -> AbstractContextManager[None]:
    """Within the block, matrix products have this precision; sums, norms and softmax stay in fp32."""
    if precision == "fp32":
        return nullcontext()
    return paddle.amp.auto_cast(dtype={"bf16": "bfloat16", "fp16": "float16"}[precision])


def _log_step(
    context: StageContext, state: TrainerState, batch: Batch, parts: Record, norm: float, optimiser: Optimiser
) -> None:
    """Count and log the step, or log why it was skipped: the optimiser moves nothing if a number is not finite.

    Raises:
        MedvqaError: the two steps before were skipped as well.
    """
    loss = sum(parts.values())
    if math.isfinite(loss) and math.isfinite(norm):
        state.not_finite, state.counted = 0, state.counted + 1
        state.sums = {name: state.sums.get(name, 0.0) + part for name, part in parts.items()}
        rate = optimiser.rate
        optimiser.raise_scale()
        context.log({"step": state.total, "loss": loss} | parts | {"norm": norm, "rate": rate})
        return
    if math.isfinite(loss) and optimiser.lower_scale():
        context.log({"step": state.total, "skipped": f"fp16 overflowed; its scale is now {optimiser.scale:g}"})
        return
    state.not_finite += 1
    reason = "the gradients are not finite" if math.isfinite(loss) else f"the loss is {loss}"
    images = [context.train.dataset.examples[image].image_id for image in batch.images]
    context.log({"step": state.total, "skipped": reason, "images": images})
    message = f"epoch {state.epoch + 1}, step {state.step}: {reason} on images {', '.join(images)}"
    if state.not_finite == MAX_SKIPPED:
        raise MedvqaError(
            f"{message}\nthe {MAX_SKIPPED - 1} steps before were not finite either",
            remedy="look at these images, or lower the learning rate; the last state is kept",
        )
    context.notify(f"{message}; this step is skipped")


def _end_epoch(
    context: StageContext,
    state: TrainerState,
    optimiser: Optimiser,
    validate: Callable[[], Record],
    score: Callable[[Record], float],
    clock: Clock,
) -> None:
    """Validate, save the weights if they are the best so far, log the epoch, and apply the recipe's patience."""
    record: Record = {name: total / max(1, state.counted) for name, total in state.sums.items()}
    state.epoch += 1
    with optimiser.averaged():
        if found := validate():
            record |= found | {"score": score(found)}
            # A NaN score would stay the best one: nothing compares greater than NaN.
            if math.isfinite(record["score"]) and (state.best is None or record["score"] >= state.best):
                state.best, state.best_epoch = record["score"], state.epoch
                if context.processes.first:
                    context.stage.save_best(optimiser.parameters)
    context.log(
        {"step": state.total, "epoch": state.epoch}
        | record
        | ({"best": state.best_epoch == state.epoch} if found else {})
        | {"seconds": round(clock.seconds, 1)}
    )
    state.step, state.counted, state.sums = 0, 0, {}
    if context.recipe.patience and state.epoch - state.best_epoch >= context.recipe.patience:
        state.ended = True


def _save(context: StageContext, state: TrainerState, optimiser: Optimiser, clock: Clock) -> None:
    with clock.saving():
        tensors = optimiser.state(state)
        state.seconds = clock.seconds
        if context.processes.first:
            context.stage.save_state(tensors, state)
