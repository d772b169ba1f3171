"""The loop that both stages share: epochs of steps, what is not finite skipped, the state kept, the best one chosen."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import paddle
from paddle import Tensor, nn

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.training.checkpoint import TrainerState
from imageclef_vqa.training.display import TrainingDisplay
from imageclef_vqa.training.optimiser import Optimiser
from imageclef_vqa.training.pairs import Batch
from imageclef_vqa.training.parallel import Shard
from imageclef_vqa.training.run import Run

Losses = Callable[[Shard, np.random.Generator], Mapping[str, Tensor]]
Record = dict[str, float]

SAVE_EVERY = 30.0  # seconds: what a run that is killed loses at most,
SAVE_SHARE = 0.02  # or more where saving would take more than this share of the time
DRAW_EVERY = 60.0  # seconds, between epochs
NOT_FINITE_IN_A_ROW = 3


def set_trainable(model: nn.Layer, learns: Mapping[str, bool]) -> dict[str, Tensor]:
    """The parameters that learn, by name, all others frozen; `learns` maps patterns of names to whether they do.

    Raises:
        ValueError: a parameter that no pattern covers, or that two do.
    """
    chosen = {}
    for name, parameter in model.named_parameters():
        verdicts = [verdict for pattern, verdict in learns.items() if re.fullmatch(pattern, name)]
        if len(verdicts) != 1:
            raise ValueError(f"{name}: covered by {len(verdicts)} lines of the table of what learns")
        parameter.stop_gradient = not verdicts[0]
        if verdicts[0]:
            chosen[name] = parameter
    return chosen


def layer_rates(names: Mapping[str, Tensor], decay: float) -> dict[str, float]:
    """Factors on the rate of vision's parameters: 1 for the final norm, `decay` for the last layer, its square for the
    one below, … (Bao et al. 2022, section 3.2)."""
    vision = [name for name in names if re.match(r"(blip2\.)?vision\.", name)]
    layer = {name: int(found[1]) if (found := re.search(r"\.layers\.(\d+)\.", name)) else -1 for name in vision}
    top = max(layer.values(), default=-1) + 1
    return {name: 1.0 if "vision.norm." in name else decay ** (top - layer[name]) for name in vision}


def train(
    run: Run,
    model: nn.Layer,
    learns: Mapping[str, bool],
    losses: Losses,
    *,
    questions: int,
    validate: Callable[[], Record],
    score: Callable[[Record], float],
) -> None:
    """Minimise the sum of `losses` over the recipe's epochs, going on from the stage's state if there is one.

    `losses` gives what a share adds to the losses of its batch. At the end the model has the weights of the epoch with
    the best `score` of what `validate` gave; those of the last one where nothing validates.

    All that is random in a step follows from seed, epoch and step, so a run that was stopped and goes on ends with the
    weights of one that was not.

    Raises:
        MedvqaError: three steps in a row are not finite; the message names the images. The last state is kept.
    """
    recipe, stage = run.recipe, run.stage
    parameters = set_trainable(model, learns)
    optimiser = Optimiser(parameters, recipe, run.processes, layer_rates(parameters, recipe.layer_decay))
    at = TrainerState()
    if stage.begun:
        tensors, at = stage.load_state()
        optimiser.load(tensors, at)
    per_epoch = run.train.pairs.batches(recipe.batch)
    clock = Clock(at.seconds, recipe.max_minutes, keeps_time=run.processes.first)
    with TrainingDisplay(stage.shown, recipe.epochs, per_epoch, shown=run.processes.first) as display:
        while at.epoch < recipe.epochs and not at.ended:
            for batch, rng in _rest_of_epoch(run, at, questions):
                parts, verdict = _add_gradients(run, batch, losses, rng, optimiser.scale, clock.verdict())
                norm = optimiser.step(recipe.rate(at.total, recipe.epochs * per_epoch))
                at.step, at.total = at.step + 1, at.total + 1
                _judge(run, at, batch, parts, norm, optimiser)
                display.show(at, parts, images=len(batch.images), pairs=len(batch.pairs))
                if verdict["late"]:
                    at.ended = True
                    break
                if verdict["save"]:
                    _save(run, at, optimiser, clock)
            _end_epoch(run, at, optimiser, validate, score, clock)
            _save(run, at, optimiser, clock)
            if run.processes.first and clock.may_draw():
                stage.draw()
    if at.best is None:
        optimiser.take_average()
    else:
        stage.load_best(parameters)


def _rest_of_epoch(run: Run, at: TrainerState, questions: int) -> Iterator[tuple[Batch, np.random.Generator]]:
    """The batches of the epoch under way that are not done, each with what is random in its step."""
    order, done = np.random.default_rng([run.seed, at.epoch]), at.step
    for number, batch in enumerate(run.train.pairs.epoch(run.recipe.batch, questions, order)):
        if number >= done:
            yield batch, np.random.default_rng([run.seed, at.epoch, number])


def _add_gradients(
    run: Run, batch: Batch, losses: Losses, rng: np.random.Generator, scale: float, verdict: Record
) -> tuple[Record, Record]:
    """Add the gradients of this process's shares; returns losses and the first process's verdict, summed over all."""
    seed = int(rng.integers(2**31))
    sums = Counter[str]()
    for share in run.processes.share(batch, run.recipe.accumulate):
        paddle.seed(seed)
        with share.rows():  # the backward pass, too: with `recompute` it drops anew
            with products_in(run.recipe.precision):
                parts = losses(share, rng)
            total = paddle.add_n(list(parts.values()))
            (total if scale == 1.0 else total * scale).backward()
        sums.update({name: float(part) for name, part in parts.items()})
    everyones = iter(run.processes.sum([*sums.values(), *verdict.values()]))
    return {name: next(everyones) for name in sums}, {name: next(everyones) for name in verdict}


def products_in(precision: str) -> AbstractContextManager[None]:
    """Within the block, matrix products are computed in this precision; sums, norms and softmax stay in fp32."""
    if precision == "fp32":
        return nullcontext()
    return paddle.amp.auto_cast(dtype={"bf16": "bfloat16", "fp16": "float16"}[precision])


def _judge(run: Run, at: TrainerState, batch: Batch, parts: Record, norm: float, optimiser: Optimiser) -> None:
    """Count the step, or say why it was skipped: where loss or gradients are not finite nothing has moved.

    Raises:
        MedvqaError: neither were those of the two steps before.
    """
    loss = sum(parts.values())
    if math.isfinite(loss) and math.isfinite(norm):
        at.not_finite, at.counted = 0, at.counted + 1
        at.sums = {name: at.sums.get(name, 0.0) + part for name, part in parts.items()}
        rate = optimiser.rate
        optimiser.raise_scale()
        run.log({"step": at.total, "loss": loss} | parts | {"norm": norm, "rate": rate})
        return
    if math.isfinite(loss) and optimiser.lower_scale():
        run.log({"step": at.total, "skipped": f"fp16 overflowed; its scale is now {optimiser.scale:g}"})
        return
    at.not_finite += 1
    what = "the gradients are not finite" if math.isfinite(loss) else f"the loss is {loss}"
    images = [run.train.dataset.examples[image].image_id for image in batch.images]
    run.log({"step": at.total, "skipped": what, "images": images})
    where = f"epoch {at.epoch + 1}, step {at.step}: {what} on images {', '.join(images)}"
    if at.not_finite == NOT_FINITE_IN_A_ROW:
        raise MedvqaError(
            f"{where}\nso it was in the {NOT_FINITE_IN_A_ROW - 1} steps before",
            remedy="look at these images, or lower the learning rate; the last state is kept",
        )
    run.notify(f"{where}; this step is skipped")


def _end_epoch(
    run: Run,
    at: TrainerState,
    optimiser: Optimiser,
    validate: Callable[[], Record],
    score: Callable[[Record], float],
    clock: Clock,
) -> None:
    """Validate, keep the weights if there are none better, and say whether that was enough."""
    record: Record = {name: total / max(1, at.counted) for name, total in at.sums.items()}
    at.epoch += 1
    with optimiser.averaged():
        if found := validate():
            record |= found | {"score": score(found)}
            # A score that is no number would stay the best for ever: nothing is greater.
            if math.isfinite(record["score"]) and (at.best is None or record["score"] >= at.best):
                at.best, at.best_epoch = record["score"], at.epoch
                if run.processes.first:
                    run.stage.save_best(optimiser.parameters)
    run.log(
        {"step": at.total, "epoch": at.epoch}
        | record
        | ({"best": at.best_epoch == at.epoch} if found else {})
        | {"seconds": round(clock.seconds, 1)}
    )
    at.step, at.counted, at.sums = 0, 0, {}
    if run.recipe.patience and at.epoch - at.best_epoch >= run.recipe.patience:
        at.ended = True


def _save(run: Run, at: TrainerState, optimiser: Optimiser, clock: Clock) -> None:
    with clock.saving():
        tensors = optimiser.state(at)
        at.seconds = clock.seconds
        if run.processes.first:
            run.stage.save_state(tensors, at)


class Clock:
    """How long a stage has taken, over all calls, and what is due; only one process's clock counts."""

    def __init__(self, before: float, max_minutes: float, *, keeps_time: bool) -> None:
        self._started = time.monotonic() - before
        self._limit = max_minutes * 60 or math.inf
        self._keeps_time = keeps_time
        self._saved, self._cost = time.monotonic(), 0.0
        self._drawn = self._saved

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def verdict(self) -> Record:
        """Whether to save after this step, and whether it is the last one, as 0 or 1."""
        since = time.monotonic() - self._saved
        due = self._keeps_time and since >= SAVE_EVERY and since * SAVE_SHARE >= self._cost
        return {"save": float(due), "late": float(self._keeps_time and self.seconds > self._limit)}

    def may_draw(self) -> bool:
        """Whether the curves are old enough to be drawn anew, which takes a second."""
        due = time.monotonic() - self._drawn >= DRAW_EVERY
        if due:
            self._drawn = time.monotonic()
        return due

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Measure what saving costs."""
        started = time.monotonic()
        yield
        self._saved = time.monotonic()
        self._cost = self._saved - started
