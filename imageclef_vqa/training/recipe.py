"""How a stage is trained: what the paper fixed, what the small preset does in its place, and files that say otherwise.

A recipe file is TOML: the preset, and a table per stage. What it leaves out is the paper's.

    preset = "vit-g-glm-6b"

    [stage2]
    freeze_vision = true
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imageclef_vqa.errors import UsageError
from imageclef_vqa.models.presets import FOLDER, PRESETS, Preset
from imageclef_vqa.planning import Workload

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Recipe(BaseModel):
    """One stage of fine-tuning. The defaults are the paper's (section 3.1), its ten-token answers excepted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    # How long.
    epochs: int = Field(ge=1)
    max_minutes: float = Field(default=0.0, ge=0)  # stop, as if it were the end, after so many; 0: no limit
    patience: int = Field(default=0, ge=0)  # stop after so many epochs without a better validation score; 0: never
    train_on: Literal["train", "all"] = "train"  # "all": the validation images too, for the final fit

    # What a step sees.
    batch: int = Field(default=16, ge=1)  # images, each with its questions
    accumulate: int = Field(default=1, ge=1)  # parts that a batch is computed in, one after another
    questions: int = Field(default=18, ge=1, le=18)  # of an image, drawn anew each time it is seen
    answer_tokens: int = Field(default=0, ge=0)  # longest answer; 0: as long as the longest of the training fold
    augment: bool = False  # change pictures at random, where no answer depends on what changes
    cache_features: bool = True  # frozen vision looks at each picture once

    # How weights move.
    learning_rate: float = Field(default=1e-4, gt=0)
    warmup_steps: int = Field(default=1000, ge=0)
    decay: bool = False  # to zero along a cosine, over all epochs; the paper keeps the rate
    weight_decay: float = Field(default=1e-4, ge=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)  # of the rate, from each vision layer to the one below
    clip: float = Field(default=1.0, gt=0)  # largest norm of all gradients together
    ema: float = Field(default=0.0, ge=0, lt=1)  # share that a moving average of the weights keeps at each step
    freeze_vision: bool = False  # the asterisk in the paper's table 2; stage 1 always does

    # Which losses.
    answer_weight: float = Field(default=1.0, ge=0)  # of the language model's loss
    word_weight: float = Field(default=0.0, ge=0)  # of the distance to the words of the answers; `tiny` alone

    # How it is computed.
    # Of products; what learns is kept in fp32. "auto": the best that the device has.
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    # The language model reads an image's visual tokens once for all its questions; they then see no question.
    share_prefix: bool = False
    recompute: bool = False  # vision's activations are made again in the backward pass: less memory, more time

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of `step`, counted from 0, of `steps`."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if not self.decay:
            return self.learning_rate
        along = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * along))

    def workload(self, preset: Preset, stage: int, **conditions: Any) -> Workload:
        """What a plan of this stage needs to know; `conditions` are the other fields of `Workload`."""
        fields = self.model_dump(include={"batch", "accumulate", "questions", "epochs", "freeze_vision"})
        return Workload(preset=preset, stage="1" if stage == 1 else "2", **(fields | conditions))

    def contradictions(self, stage: int) -> list[str]:
        """Keys that do not go together, or not with this stage."""
        found = []
        if stage == 1:
            found += [
                f"{name}: stage 2 alone knows it"
                for name in ("questions", "answer_weight", "word_weight", "layer_decay", "share_prefix")
                if getattr(self, name) != type(self).model_fields[name].default
            ]
            if not self.freeze_vision:
                found.append("freeze_vision: stage 1 never trains vision")
        elif not self.answer_weight and not self.word_weight:
            found.append("answer_weight: with word_weight = 0 as well there is no loss to learn from")
        if self.augment and self.freeze_vision and self.cache_features:
            found.append(
                "cache_features: features of a picture that augment changes at random cannot be kept; "
                "set it to false (vision then runs at every step), or leave augment out"
            )
        if self.train_on == "all" and self.patience:
            found.append("patience: with train_on = all no image is left to validate on")
        if self.accumulate > self.batch:
            found.append(f"accumulate: a batch of {self.batch} cannot be computed in {self.accumulate} parts")
        return found


Stages = Mapping[int, Recipe]

DEFAULT: Stages = {1: Recipe(epochs=100, freeze_vision=True), 2: Recipe(epochs=50)}
# "We set the maximum output length of our model to 10" (paper, section 3.1).
PAPER: Stages = {stage: recipe.model_copy(update={"answer_tokens": 10}) for stage, recipe in DEFAULT.items()}
RECIPES: Mapping[str, Stages] = {
    # Short, because `tiny` starts from rendered scenes; from 6 to 25 epochs make no difference on the real sample.
    "tiny": {
        1: Recipe(epochs=6, learning_rate=3e-4, warmup_steps=20, decay=True, weight_decay=0.05, freeze_vision=True),
        2: Recipe(epochs=8, learning_rate=7e-4, warmup_steps=20, decay=True, weight_decay=0.05, word_weight=1.0),
    }
}


def choose_recipe(
    stage: int, *, preset: str | None = None, recipe: str | None = None, changes: Mapping[str, Any] | None = None
) -> tuple[str, Recipe]:
    """The preset's name and the recipe of `stage`: `recipe` is "paper", a file, or None for the preset's own.

    A preset that is given goes before the file's; every one of the `changes` that is not None before all.

    Raises:
        UsageError: anything does not fit; all complaints are made at once.
    """
    named, stages, complaints = _read(Path(recipe)) if recipe and recipe != "paper" else (None, None, [])
    if recipe == "paper":
        stages = PAPER
    name = preset or named or "tiny"
    base = (stages or RECIPES.get(name, DEFAULT))[stage]
    wanted = {key: value for key, value in (changes or {}).items() if value is not None}
    # What does not go together is known only where the file could be read.
    chosen, faults = _checked(stage, base.model_dump() | wanted, "", together=not complaints)
    if complaints + faults:
        where = "recipe" if recipe in (None, "paper") else recipe
        raise UsageError("\n".join([f"{where}:", *(f"  {each}" for each in complaints + faults)]))
    assert chosen is not None
    return name, chosen


def _read(path: Path) -> tuple[str | None, Stages | None, list[str]]:
    """What a recipe file says, checked as a whole: preset, stages, and everything that is wrong with it."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"--recipe {path}: there is no such file", remedy="paper, or a TOML file as in examples/recipes"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"--recipe {path}: {error}") from error
    complaints = [f"{key}: unknown; a recipe has preset, [stage1] and [stage2]" for key in content if key not in _TOP]
    preset = content.get("preset")
    if preset is not None and not isinstance(preset, str):
        complaints.append("preset: must be a text")
    elif preset is not None and preset not in (*PRESETS, FOLDER):
        complaints.append(f"preset: none is called {preset!r}; there are {', '.join((*PRESETS, FOLDER))}")
    stages = {}
    for stage in (1, 2):
        table = content.get(f"stage{stage}", {})
        if not isinstance(table, dict):
            complaints.append(f"stage{stage}: must be a table, [stage{stage}]")
            continue
        recipe, faults = _checked(stage, PAPER[stage].model_dump() | table, f"stage{stage}.")
        complaints += faults
        if recipe is not None:
            stages[stage] = recipe
    return preset, None if complaints else stages, complaints


_TOP = ("preset", "stage1", "stage2")


def _checked(
    stage: int, content: Mapping[str, Any], prefix: str, *, together: bool = True
) -> tuple[Recipe | None, list[str]]:
    """The recipe, or every complaint about its keys, each under its name; with `together` about their combination."""
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        return None, [prefix + _complaint(fault) for fault in error.errors()]
    contradictions = [prefix + each for each in recipe.contradictions(stage)] if together else []
    return (None if contradictions else recipe), contradictions


def _complaint(fault: Mapping[str, Any]) -> str:
    name = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"{name}: unknown; there are {', '.join(Recipe.model_fields)}"
    return f"{name}: {fault['msg'][0].lower()}{fault['msg'][1:]}, not {fault['input']!r}"
