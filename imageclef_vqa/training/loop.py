"""The loop that both stages share: epochs of steps, a check that losses are finite, a state kept after each epoch."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import paddle
from paddle import Tensor, nn

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.progress import progress_display
from imageclef_vqa.training.pairs import Batch
from imageclef_vqa.training.run import Run

Losses = Callable[[Batch, np.random.Generator], Mapping[str, Tensor]]


def choose_what_learns(model: nn.Layer, learns: Mapping[str, bool]) -> list[Tensor]:
    """The parameters that learn, all others frozen; `learns` maps patterns of names to whether they do.

    Raises:
        ValueError: a parameter that no pattern covers, or that two do.
    """
    chosen = []
    for name, parameter in model.named_parameters():
        verdicts = [verdict for pattern, verdict in learns.items() if re.fullmatch(pattern, name)]
        if len(verdicts) != 1:
            raise ValueError(f"{name}: covered by {len(verdicts)} lines of the table of what learns")
        parameter.stop_gradient = not verdicts[0]
        if verdicts[0]:
            chosen.append(parameter)
    return chosen


def train(
    run: Run,
    model: nn.Layer,
    learns: Mapping[str, bool],
    losses: Losses,
    *,
    questions: int,
    validate: Callable[[], Mapping[str, float]],
) -> None:
    """Minimise the sum of `losses` over the recipe's epochs, going on from the stage's state if there is one.

    All that is random in an epoch follows from seed and epoch, so a run that was stopped and goes on ends with the
    weights of one that was not.

    Raises:
        MedvqaError: a loss is not finite; the message names the batch's images. The last state is kept.
    """
    recipe, pairs = run.recipe, run.train.pairs
    optimizer = paddle.optimizer.AdamW(
        recipe.learning_rate,
        parameters=choose_what_learns(model, learns),
        weight_decay=recipe.weight_decay,
        grad_clip=nn.ClipGradByGlobalNorm(recipe.clip),
    )
    done = run.stage.load_state(model, optimizer) if run.stage.begun else 0
    per_epoch = pairs.batches(recipe.batch)
    steps = recipe.epochs * per_epoch
    with progress_display("loss {task.fields[loss]:.3f}", "{task.fields[speed]:.0f} pairs/s") as display:
        task = display.add_task(run.stage.shown, total=steps, completed=done * per_epoch, loss=float("nan"), speed=0.0)
        for epoch in range(done, recipe.epochs):
            rng = np.random.default_rng([run.seed, epoch])
            paddle.seed(int(rng.integers(2**31)))
            started, seen, sums = time.monotonic(), 0, Counter[str]()
            for number, batch in enumerate(pairs.epoch(recipe.batch, questions, rng)):
                optimizer.set_lr(recipe.rate(epoch * per_epoch + number, steps))
                parts = losses(batch, rng)
                total = paddle.add_n(list(parts.values()))
                if not math.isfinite(loss := float(total)):
                    names = ", ".join(run.train.dataset.examples[image].image_id for image in batch.images)
                    raise MedvqaError(
                        f"epoch {epoch + 1}, step {number + 1}: the loss is {loss} on images {names}",
                        remedy="look at these images, or lower the learning rate; the last epoch's state is kept",
                    )
                total.backward()
                optimizer.step()
                optimizer.clear_grad(set_to_zero=False)  # zeroed gradients would lie beside the next activations
                seen += len(batch.pairs)
                sums.update({name: float(part) for name, part in parts.items()})
                speed = seen / (time.monotonic() - started)
                display.update(task, advance=1, loss=loss, speed=speed)
            record = {name: total / per_epoch for name, total in sums.items()} | dict(validate())
            run.stage.save_state(model, optimizer, epoch + 1)
            run.stage.log({"epoch": epoch + 1} | {name: round(value, 5) for name, value in record.items()})
