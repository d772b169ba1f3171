"""What a stage was trained from, and the names of the files in its folder; free of Paddle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from imageclef_vqa import __version__
from imageclef_vqa.checkpoints.folder import choose_preset
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.training.recipe import Recipe

MODEL = "model.safetensors"
ADAPTERS = "adapters.safetensors"  # of a frozen language model
STATE = "state.safetensors"
BEST = "best.safetensors"
CONFIG = "config.json"
VOCABULARY = "vocabulary.json"  # of closed questions
TOKENIZER = "spiece.model"  # of a language model that learns
NEIGHBOURS = ("neighbours.safetensors", "neighbours.json")  # of open questions
LOG = "log.jsonl"
CURVES = "loss.png"
_IGNORED = {"version", "weights_folder"}  # an unfinished stage can be resumed though these differ


def fingerprint(*parts: str) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of `parts`."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class StageConfig(BaseModel):
    """What a stage was trained from. An unfinished stage is resumed only if none of it has changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str
    stage: int
    recipe: Recipe
    seed: int
    fold: int
    data: str
    training_images: str
    weights_folder: str | None = None  # None: the weights in the package
    prompt: str = "{}"  # around the questions, as in `LanguageConfig`
    question_end: bool = False
    weights: dict[str, str]  # SHA-256 of each pretrained file, the frozen weights included
    split: str = ""  # SHA-256 of split.json
    tokenizer: str = ""  # SHA-256 of the tokenizer that was learnt from the training texts
    stage1: str | None = None  # for stage 2: the digest of stage 1's record
    version: str = __version__

    @property
    def inputs(self) -> dict[str, str]:
        """What the record of the stage says that it was made from."""
        stage1 = {} if self.stage1 is None else {"stage1": self.stage1}
        weights = {f"weights/{name}": digest for name, digest in self.weights.items()}
        return {"development": self.data, "split": self.split} | stage1 | weights

    def starting_point(self) -> Preset:
        """The preset with its folder of weights, and with the prompt that was trained with."""
        preset = choose_preset(self.preset, Path(self.weights_folder) if self.weights_folder else None)
        language = replace(preset.language, prompt=self.prompt, question_end=self.question_end)
        return replace(preset, language=language)

    def differences(self, other: StageConfig) -> list[str]:
        """One line for each field that differs, such as `recipe.epochs: 20 there, 30 here`."""
        mine, others = _flat(self.model_dump(exclude=_IGNORED)), _flat(other.model_dump(exclude=_IGNORED))
        names = [name for name in mine | others if mine.get(name) != others.get(name)]
        return [f"{name}: {mine.get(name, 'none')} there, {others.get(name, 'none')} here" for name in names]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
