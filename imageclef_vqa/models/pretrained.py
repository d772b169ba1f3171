"""A preset with the weights that it starts from: its folder holds

language.safetensors   the language model, frozen for good
spiece.model           its tokenizer (ice_text.model for ChatGLM)
blip2.safetensors      vision, Q-Former and projection to start from, if there are any
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.language import Tokenizer, load_language, read_tokenizer, tokenizer_file
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.models.weights import load_weights, open_safetensors
from imageclef_vqa.models.weights.stored import Bits

LANGUAGE = "language.safetensors"
START = "blip2.safetensors"


def pretrained_files(preset: Preset) -> list[Path]:
    """The files that a preset starts from."""
    files = [preset.folder / name for name in (LANGUAGE, tokenizer_file(preset.language), START)]
    return [file for file in files if file != preset.folder / START or file.exists()]


def load_pretrained(preset: Preset) -> tuple[Blip2, Tokenizer]:
    """The preset's model with its weights, and its tokenizer.

    Raises:
        MedvqaError: a file is missing or does not fit.
    """
    model = Blip2(preset, load_language(preset.language, preset.folder / LANGUAGE))
    if (preset.folder / START).exists():
        start, _ = open_safetensors(preset.folder / START)
        # Parts of several origins may lack one: BLIP-2's own projection leads to another language model than T5-base.
        parts = {name.split(".")[0] for name in start}
        _load(model, start, str(preset.folder / START), parts)
    return model, read_tokenizer(preset.language, preset.folder)


def trained_tensors(model: Blip2, *, vision: bool) -> dict[str, np.ndarray]:
    """What fine-tuning changes, by name: Q-Former and projection, and vision where it learns."""
    frozen = ("language.",) if vision else ("language.", "vision.")
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(frozen)}


def load_trained(model: Blip2, tensors: dict[str, np.ndarray], source: str) -> None:
    """Lay `tensors`, as `trained_tensors` gives them, over the model.

    Raises:
        MedvqaError: they are not exactly those; the differences are listed.
    """
    vision = any(name.startswith("vision.") for name in tensors)
    _load(model, tensors, source, {"vision", "qformer", "projection"} if vision else {"qformer", "projection"})


def _load(model: Blip2, tensors: Mapping[str, Bits | np.ndarray], source: str, parts: Collection[str]) -> None:
    """Give these parts of the model exactly these tensors, and leave the others as they are."""
    others = [name for name in model.state_dict() if name.split(".")[0] not in parts]
    load_weights(model, tensors, source, absent=others)
