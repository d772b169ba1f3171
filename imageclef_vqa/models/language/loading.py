"""A language model from its sizes, random or with the weights of a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import paddle
from paddle import nn
from paddlenlp.transformers.model_utils import no_init_weights

from imageclef_vqa.models.language.frozen import FrozenEmbedding, FrozenLinear, Matrix
from imageclef_vqa.models.language.glm import GLM
from imageclef_vqa.models.language.interface import Language
from imageclef_vqa.models.language.t5 import T5
from imageclef_vqa.models.presets import GLMConfig, LanguageConfig
from imageclef_vqa.models.weights import load_weights, open_safetensors
from imageclef_vqa.models.weights.stored import DTYPES, Stored, values

# Beside a matrix in 8 bits, under its name and this: what each channel is multiplied with.
SCALE = ".scale"
# Smaller matrices (T5's relative positions) are loaded as they are.
_SMALL = 2**14


def build_language(sizes: LanguageConfig) -> Language:
    """A language model with random weights."""
    return GLM(sizes) if isinstance(sizes, GLMConfig) else T5(sizes)


def load_language(sizes: LanguageConfig, file: Path) -> Language:
    """A language model with the weights of a safetensors file, under the names of its `model`.

    Weights in float32 are read. Others stay in the file, mapped into memory, and are widened when needed.

    Raises:
        MedvqaError: the file is missing, damaged, or does not fit; the differences are listed.
    """
    stored, _ = open_safetensors(file)
    if all(tensor.dtype == "F32" for tensor in stored.values()):
        language = build_language(sizes)
        load_weights(language.model, stored, str(file))
        return language
    # Nothing is allocated under LazyGuard until it is given a value.
    with no_init_weights(), paddle.LazyGuard():
        language = build_language(sizes)
    load_weights(language.model, keep_as_stored(language.model, stored), str(file))
    return language


def keep_as_stored(model: nn.Layer, stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """Put matrices from `stored` in the place of linear layers and embeddings; returns what has no such place."""
    rest, done = dict(stored), {}
    for path, layer in list(model.named_sublayers(include_self=True)):
        for name, child in list(layer.named_children()):
            if not isinstance(child, nn.Linear | nn.Embedding):
                continue
            place = f"{path}.{name}.".lstrip(".")
            tensor = rest.get(f"{place}weight")
            if id(child) not in done:
                if tensor is None or list(tensor.shape) != child.weight.shape or child.weight.size < _SMALL:
                    continue
                scale = rest.pop(f"{place}weight{SCALE}", None)
                matrix = Matrix(mapped(tensor), None if scale is None else scale.bits())
                if isinstance(child, nn.Embedding):
                    done[id(child)] = FrozenEmbedding(matrix)
                else:
                    bias = rest.pop(f"{place}bias", None) if child.bias is not None else None
                    done[id(child)] = FrozenLinear(matrix, None if bias is None else values(bias))
            rest.pop(f"{place}weight", None)
            setattr(layer, name, done[id(child)])
    return rest


def mapped(tensor: Stored) -> np.ndarray:
    """The elements of a stored tensor, mapped into memory and read when they are used (bfloat16 as uint16)."""
    # Copy-on-write, because Paddle takes no array that cannot be written; nothing ever is.
    return np.memmap(tensor.file, DTYPES[tensor.dtype], "c", tensor.offset, tensor.shape)
