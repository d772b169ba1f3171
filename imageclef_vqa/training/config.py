"""What a stage was trained from, and the names of the files in its folder; Paddle is not imported here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from imageclef_vqa import __version__
from imageclef_vqa.checkpoints.folder import choose_preset
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.training.recipe import Recipe

MODEL = "model.safetensors"
STATE = "state.safetensors"
BEST = "best.safetensors"
CONFIG = "config.json"
VOCABULARY = "vocabulary.json"
LOG = "log.jsonl"
CURVES = "loss.png"
_UNIMPORTANT = {"version", "weights_folder"}  # to whether an unfinished run may go on


class StageConfig(BaseModel):
    """What a stage was trained from; a run goes on only with all of it unchanged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str
    stage: int
    recipe: Recipe
    seed: int
    fold: int
    data: str
    training_images: str
    weights_folder: str | None = None  # where those of a preset that comes without were found
    weights: dict[str, str]  # the SHA-256 of each file it starts from, the frozen ones included
    version: str = __version__

    def starting_point(self) -> Preset:
        """The preset, with its weights where they were found."""
        return choose_preset(self.preset, Path(self.weights_folder) if self.weights_folder else None)

    def differences(self, other: StageConfig) -> list[str]:
        """`recipe.epochs: 20 there, 30 here`, one line for each field that differs."""
        mine, others = _flat(self.model_dump(exclude=_UNIMPORTANT)), _flat(other.model_dump(exclude=_UNIMPORTANT))
        names = [name for name in mine | others if mine.get(name) != others.get(name)]
        return [f"{name}: {mine.get(name, 'none')} there, {others.get(name, 'none')} here" for name in names]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
