"""A preset with the weights that it starts from: its folder holds

language.safetensors   the language model, frozen for good
spiece.model           its tokenizer
blip2.safetensors      vision, Q-Former and projection to start from, if there are any
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.language import Tokenizer
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.models.weights import load_weights, read_weights

LANGUAGE = "language.safetensors"
TOKENIZER = "spiece.model"
START = "blip2.safetensors"


def pretrained_files(preset: Preset) -> list[Path]:
    """The files that a preset starts from."""
    files = [preset.folder / LANGUAGE, preset.folder / TOKENIZER, preset.folder / START]
    return [file for file in files if file != preset.folder / START or file.exists()]


def load_pretrained(preset: Preset) -> tuple[Blip2, Tokenizer]:
    """The preset's model with its weights, and its tokenizer.

    Raises:
        MedvqaError: a file is missing or does not fit.
    """
    model = Blip2(preset)
    language = preset.folder / LANGUAGE
    load_weights(model.language.model, read_weights(language), str(language))
    if (preset.folder / START).exists():
        start = read_weights(preset.folder / START)
        load_trained(model, start, str(preset.folder / START))
    return model, Tokenizer(preset.folder / TOKENIZER)


def trained_tensors(model: Blip2, *, vision: bool) -> dict[str, np.ndarray]:
    """What fine-tuning changes, by name: Q-Former and projection, and vision where it learns."""
    frozen = ("language.",) if vision else ("language.", "vision.")
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(frozen)}


def load_trained(model: Blip2, tensors: dict[str, np.ndarray], source: str) -> None:
    """Lay `tensors`, as `trained_tensors` gives them, over the model.

    Raises:
        MedvqaError: they are not exactly those; the differences are listed.
    """
    kept = {name: tensor.numpy() for name, tensor in model.state_dict().items() if name.startswith("language.")}
    if not any(name.startswith("vision.") for name in tensors):
        kept |= {name: tensor.numpy() for name, tensor in model.state_dict().items() if name.startswith("vision.")}
    load_weights(model, kept | tensors, source)
