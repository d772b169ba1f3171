"""Recipes: the paper's, the one of preset tiny, and TOML files.

A file has the preset, and a table per stage; keys that it leaves out have the paper's values. Instead of the preset,
a table `[model]` may name an encoder and a language model, `vision = "efficientnet-lite2"` and `language = "t5-base"`.

    preset = "vit-g-glm-6b"

    [stage2]
    freeze_vision = true
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imageclef_vqa.errors import DamagedFileError, MissingFileError, UsageError
from imageclef_vqa.inputs import faults_of, read_toml
from imageclef_vqa.training.recipe_keys import Recipe

__all__ = ["DEFAULT", "PAPER", "RECIPES", "Recipe", "choose_recipe"]

Stages = Mapping[int, Recipe]
_FOLDER = Path(__file__).parent / "recipes"

# What the paper does not say is as in LAVIS: no limit on gradients, smoothed targets in stage 1
# (`blip2_qformer.py`, `Qformer.py`), and the exceptions from weight decay (`optimiser.py`).
DEFAULT: Stages = {1: Recipe(epochs=100, freeze_vision=True, label_smoothing=0.1), 2: Recipe(epochs=50)}
# "We set the maximum output length of our model to 10" (paper, section 3.1).
PAPER: Stages = {stage: recipe.model_copy(update={"answer_tokens": 10}) for stage, recipe in DEFAULT.items()}
_REPRESENTATION = Recipe(
    epochs=6, learning_rate=3e-4, warmup_steps=20, decay=True, weight_decay=0.05, clip=1.0, freeze_vision=True
)
_SENTENCES = Recipe(
    epochs=24,
    learning_rate=1.5e-3,
    warmup_steps=60,
    decay=True,
    weight_decay=0.05,
    clip=1.0,
    ema=0.99,
    share_prefix=True,
)
_ANSWERS = Recipe(
    epochs=8, learning_rate=7e-4, warmup_steps=20, decay=True, weight_decay=0.05, clip=1.0, word_weight=1.0
)
RECIPES: Mapping[str, Stages] = {
    # Few epochs are enough, because both were pretrained on rendered scenes.
    "tiny": {1: _REPRESENTATION, 2: _ANSWERS},
    "lite": {
        1: _REPRESENTATION,
        2: _ANSWERS.model_copy(
            update={"epochs": 14, "questions": 9, "ema": 0.98, "freeze_vision": True, "augment": True}
        ),
    },
    "tiny-open": {1: _REPRESENTATION, 2: _SENTENCES},
    "lite-open": {1: _REPRESENTATION, 2: _SENTENCES.model_copy(update={"freeze_vision": True})},
}


def choose_recipe(
    stage: int,
    *,
    preset: str | None = None,
    recipe: str | None = None,
    changes: Mapping[str, Any] | None = None,
    default: str = "tiny",
) -> tuple[str, Recipe]:
    """The name of the preset and the recipe of `stage`.

    `recipe` is "paper", the name of a file in `recipes/`, the path of another TOML file, or None for the preset's own.
    `preset` overrides the file's, `default` is the preset where neither names one, and the `changes` that are not None
    override the recipe's keys.

    Raises:
        UsageError: there is no such file, preset or key, or a value is not valid; all problems are listed.
    """
    named, stages, complaints = _read(_recipe_file(recipe)) if recipe and recipe != "paper" else (None, None, [])
    if recipe == "paper":
        stages = PAPER
    name = preset or named or default
    base = (stages or RECIPES.get(name, DEFAULT))[stage]
    wanted = {key: value for key, value in (changes or {}).items() if value is not None}
    # Contradictions between keys can only be found if the file could be read.
    chosen, faults = _checked(stage, base.model_dump() | wanted, "", together=not complaints)
    if complaints + faults:
        where = "recipe" if recipe in (None, "paper") else recipe
        raise UsageError("\n".join([f"{where}:", *(f"  {each}" for each in complaints + faults)]))
    assert chosen is not None
    return name, chosen


def _recipe_file(recipe: str) -> Path:
    """The file at the path `recipe`; where there is none, the package's recipe of that name."""
    ours = _FOLDER / f"{recipe}.toml"
    return ours if ours.parent == _FOLDER and ours.is_file() and not Path(recipe).exists() else Path(recipe)


def _read(path: Path) -> tuple[str | None, Stages | None, list[str]]:
    """Preset and stages of a recipe file, and everything that is wrong with it."""
    try:
        content = read_toml(path)
    except MissingFileError as error:
        packaged = sorted(file.stem for file in _FOLDER.glob("*.toml"))
        raise UsageError(
            f"--recipe {path}: there is no such file",
            remedy=f"there are paper, {', '.join(packaged)}, and TOML files of your own",
        ) from error
    except DamagedFileError as error:
        raise UsageError(f"--recipe {error.what}") from error
    complaints = [
        f"{key}: unknown; a recipe has preset or [model], [stage1] and [stage2]" for key in content if key not in _TOP
    ]
    preset, faults = _preset_of(content)
    complaints += faults
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


def _preset_of(content: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """The preset that a recipe file names, by its own name or as `[model]`, and what is wrong with it."""
    from imageclef_vqa.models.combinations import SIGN, ModelParts
    from imageclef_vqa.models.presets import FOLDER, PRESETS  # help needs a recipe's fields only

    preset, model = content.get("preset"), content.get("model")
    if model is not None:
        faults = [f"[model] {fault}" for fault in faults_of(ModelParts, model)]
        faults += ["preset: not beside [model], which is one"] if preset is not None else []
        return None if faults else ModelParts(**model).preset, faults
    if preset is not None and not isinstance(preset, str):
        return None, ["preset: must be a string"]
    if preset is not None and SIGN not in preset and preset not in (*PRESETS, FOLDER):
        return None, [f"preset: unknown, {preset!r}; there are {', '.join((*PRESETS, FOLDER))}"]
    return preset, []


_TOP = ("preset", "model", "stage1", "stage2")


def _checked(
    stage: int, content: Mapping[str, Any], prefix: str, *, together: bool = True
) -> tuple[Recipe | None, list[str]]:
    """The recipe, or every problem with its keys; with `together`, contradictions between them too."""
    if faults := faults_of(Recipe, content):
        return None, [prefix + fault for fault in faults]
    recipe = Recipe.model_validate(content)
    contradictions = [prefix + each for each in recipe.contradictions(stage)] if together else []
    return (None if contradictions else recipe), contradictions
