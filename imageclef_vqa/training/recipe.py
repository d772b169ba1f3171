"""How a stage is trained: what the paper fixed, and what the small preset does in its place."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from imageclef_vqa.errors import UsageError


class Recipe(BaseModel):
    """One stage of fine-tuning. The defaults are the paper's (section 3.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(ge=1)
    batch: int = Field(default=16, ge=1)  # images, each with its questions
    questions: int = Field(default=18, ge=1, le=18)  # of an image, drawn anew each time it is seen
    learning_rate: float = Field(default=1e-4, gt=0)
    warmup_steps: int = Field(default=1000, ge=0)
    decay: bool = False  # to zero along a cosine, over all epochs; the paper keeps the rate
    weight_decay: float = Field(default=1e-4, ge=0)
    clip: float = Field(default=1.0, gt=0)  # largest norm of all gradients together
    answer_weight: float = Field(default=1.0, ge=0)  # of the language model's loss
    word_weight: float = Field(default=0.0, ge=0)  # of the distance to the words of the answers; `tiny` alone
    train_vision: bool = True  # without an asterisk in the paper's table 2; stage 1 never does

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of `step`, counted from 0, of `steps`."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if not self.decay:
            return self.learning_rate
        along = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * along))


PAPER = {1: Recipe(epochs=100, train_vision=False), 2: Recipe(epochs=50)}
RECIPES = {
    # Short, because `tiny` starts from rendered scenes; from 6 to 25 epochs make no difference on the real sample.
    "tiny": {
        1: Recipe(epochs=6, learning_rate=3e-4, warmup_steps=20, decay=True, weight_decay=0.05, train_vision=False),
        2: Recipe(epochs=8, learning_rate=7e-4, warmup_steps=20, decay=True, weight_decay=0.05, word_weight=1.0),
    }
}


def recipe_for(preset: str, stage: int, **changes: Any) -> Recipe:
    """The recipe of a preset's stage, with every change that is not None.

    Raises:
        UsageError: a change is out of its range; all of them are named.
    """
    recipe = RECIPES.get(preset, PAPER)[stage]
    wanted = recipe.model_dump() | {name: value for name, value in changes.items() if value is not None}
    try:
        return Recipe.model_validate(wanted)
    except ValueError as error:
        raise UsageError(f"recipe for stage {stage}: {error}") from error
