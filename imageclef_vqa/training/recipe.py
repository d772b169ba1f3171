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

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.errors import UsageError
from imageclef_vqa.models.presets import FOLDER, PRESETS, Preset
from imageclef_vqa.planning import Workload

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _panel(name: str) -> dict[str, JsonValue]:
    return {"panel": name}


MODEL, DATA, OPTIMISATION, MEMORY, DEVICES = map(
    _panel, ("Model", "Data", "Optimisation", "Memory and speed", "Devices")
)


class Recipe(BaseModel):
    """One stage of fine-tuning. The defaults are the paper's (section 3.1), except that answers have any length.

    Each field's description is the help of its option in `medvqa finetune`, and its panel the group of that option.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    freeze_vision: bool = Field(
        default=False,
        description="Keep the vision encoder as it is (the asterisk in the paper's table 2). Stage 1 always does.",
        json_schema_extra=MODEL,
    )
    answer_weight: float = Field(
        default=1.0,
        ge=0,
        description="Factor on the language model's loss. Stage 2.",
        json_schema_extra=MODEL,
    )
    word_weight: float = Field(
        default=0.0,
        ge=0,
        description="Factor on the squared distance between visual tokens and the embedded words of the answers. "
        "Only for preset tiny, stage 2.",
        json_schema_extra=MODEL,
    )
    share_prefix: bool = Field(
        default=False,
        description="Let the language model read an image's visual tokens once for all its questions; what it makes of "
        "them then does not depend on the question. Stage 2.",
        json_schema_extra=MODEL,
    )

    train_on: Literal["train", "all"] = Field(
        default="train",
        description="train: the training fold. all: the validation images too, for the final fit.",
        json_schema_extra=DATA,
    )
    questions: int = Field(
        default=len(QUESTIONS),
        ge=1,
        le=len(QUESTIONS),
        description="Questions per image and step, drawn at random each time. Stage 2.",
        json_schema_extra=DATA,
    )
    answer_tokens: int = Field(
        default=0,
        ge=0,
        description="Longest answer in tokens; 0: as long as the longest one in training.",
        json_schema_extra=DATA,
    )
    augment: bool = Field(
        default=False,
        description="Change images at random in ways that keep their answers true.",
        json_schema_extra=DATA,
    )

    epochs: int = Field(ge=1, description="Passes over the training images.", json_schema_extra=OPTIMISATION)
    max_minutes: float = Field(
        default=0.0,
        ge=0,
        description="Stop after this many minutes, as after the last epoch; 0: no limit.",
        json_schema_extra=OPTIMISATION,
    )
    patience: int = Field(
        default=0,
        ge=0,
        description="Stop after this many epochs without a better validation score; 0: never.",
        json_schema_extra=OPTIMISATION,
    )
    batch: int = Field(
        default=16,
        ge=1,
        description="Images per step over all devices, each with its questions.",
        json_schema_extra=OPTIMISATION,
    )
    learning_rate: float = Field(
        default=1e-4, gt=0, description="Learning rate after the warm-up.", json_schema_extra=OPTIMISATION
    )
    warmup_steps: int = Field(
        default=1000,
        ge=0,
        description="Steps over which the learning rate grows from zero.",
        json_schema_extra=OPTIMISATION,
    )
    decay: bool = Field(
        default=False,
        description="After the warm-up, lower the learning rate to zero along a cosine. The paper keeps it constant.",
        json_schema_extra=OPTIMISATION,
    )
    weight_decay: float = Field(
        default=1e-4, ge=0, description="Weight decay of AdamW.", json_schema_extra=OPTIMISATION
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Factor on the learning rate from each vision layer to the one below it; 1: the same rate for all. "
        "Stage 2.",
        json_schema_extra=OPTIMISATION,
    )
    clip: float = Field(
        default=1.0, gt=0, description="Largest norm of all gradients together.", json_schema_extra=OPTIMISATION
    )
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay per step of a moving average of the weights, which is then validated and kept; 0: none.",
        json_schema_extra=OPTIMISATION,
    )

    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="Precision of matrix products; auto: the best that the device has. Trained weights stay in fp32.",
        json_schema_extra=DEVICES,
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        description="Parts that a batch is computed in, one after another: less memory, the same gradients.",
        json_schema_extra=MEMORY,
    )
    recompute: bool = Field(
        default=False,
        description="Compute vision's activations again in the backward pass: less memory, more time.",
        json_schema_extra=MEMORY,
    )
    cache_features: bool = Field(
        default=True,
        description="Compute the features of a frozen vision encoder once per image and keep them on disk.",
        json_schema_extra=MEMORY,
    )

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
