"""Every key of a recipe as an option of `medvqa finetune`, from one table that a test holds against the recipe."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

# Key of the recipe: type, and help.
KEYS: dict[str, tuple[type, str]] = {
    "epochs": (int, "How often every training image is seen."),
    "max_minutes": (float, "Stop after so many minutes, as if it were the end; 0: no limit."),
    "patience": (int, "Stop after so many epochs without a better validation score; 0: never."),
    "train_on": (str, "train; or all: the validation images too, for the final fit."),
    "batch": (int, "Images per step, each with its questions."),
    "accumulate": (int, "Parts that a batch is computed in, one after another."),
    "questions": (int, "Questions of an image per step, drawn anew each time. Stage 2."),
    "answer_tokens": (int, "Longest answer in tokens; 0: as long as the longest in training."),
    "augment": (bool, "Change pictures at random where no answer depends on it."),
    "cache_features": (bool, "Keep what frozen vision sees in a picture."),
    "learning_rate": (float, "The rate after the warm-up."),
    "warmup_steps": (int, "Steps over which the rate grows."),
    "decay": (bool, "Let the rate fall to zero along a cosine."),
    "weight_decay": (float, "AdamW's weight decay."),
    "layer_decay": (float, "Factor on the rate from each vision layer to the one below. Stage 2."),
    "clip": (float, "Largest norm of all gradients together."),
    "ema": (float, "Share that a moving average of the weights keeps at each step; 0: none."),
    "freeze_vision": (bool, "The asterisk in the paper's table 2. Stage 1 always does."),
    "answer_weight": (float, "Of the language model's loss. Stage 2."),
    "word_weight": (float, "Of the distance to the answers' words; preset tiny. Stage 2."),
    "precision": (str, "auto: the device's best; or fp32, bf16, fp16. What learns is kept in fp32."),
    "share_prefix": (bool, "Read visual tokens once for all questions, none of which they see. Stage 2."),
    "recompute": (bool, "Less memory for vision, more time."),
}


def with_recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """`command(…, changes)` with an option for each key in place of `changes`, which holds those that were given."""
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command).parameters.values()
    named = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    parameters = [named(each.name, default=each.default, annotation=hints[each.name]) for each in own]
    place = [each.name for each in own].index("changes")
    parameters[place : place + 1] = [
        named(name, default=None, annotation=Annotated[kind | None, typer.Option(help=text)])
        for name, (kind, text) in KEYS.items()
    ]

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        changes = {name: given.pop(name) for name in KEYS}
        command(**given, changes={name: value for name, value in changes.items() if value is not None})

    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return with_options
