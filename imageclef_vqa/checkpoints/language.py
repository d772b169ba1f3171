"""A language model with the weights of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import paddle
from paddle import nn

from imageclef_vqa.checkpoints.eight_bits import EightBits
from imageclef_vqa.checkpoints.layers import load_weights
from imageclef_vqa.checkpoints.safetensors import open_safetensors, write_safetensors
from imageclef_vqa.checkpoints.stored import DTYPES, Bits, Stored, values
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.configs import LanguageConfig
from imageclef_vqa.models.language.frozen import FrozenEmbedding, FrozenLinear, Matrix
from imageclef_vqa.models.language.interface import Language
from imageclef_vqa.models.language.paddlenlp import no_init_weights

# Beside a matrix in 8 bits, under its name and this: what each channel is multiplied with.
SCALE = ".scale"
# Smaller matrices, such as T5's relative positions, are loaded and stored in full.
_SMALL = 2**14


def stored_bits(file: Path) -> Literal[8, 16, 32]:
    """In which the weights of a safetensors file are stored; the matrices, where they differ."""
    types = {tensor.dtype for tensor in open_safetensors(file)[0].values()}
    return 8 if "I8" in types else 32 if types == {"F32"} else 16


def load_language(sizes: LanguageConfig, file: Path) -> Language:
    """A language model with the weights of a safetensors file, under the names of its `model`.

    Weights in float32 are read. Others stay in the file, mapped into memory, and are widened when needed.

    Raises:
        MedvqaError: the file is missing, damaged, or does not fit; the differences are listed.
    """
    stored, _ = open_safetensors(file)
    if stored_bits(file) == 32:
        language = sizes.build()
        load_weights(language.model, stored, str(file))
        return language
    language = _outline(sizes)
    load_weights(language.model, _keep_as_stored(language.model, stored), str(file))
    return language


def shrink_language(sizes: LanguageConfig, source: Path, target: Path) -> None:
    """Write the weights of `source` to `target` with every matrix in 8 bits, one at a time.

    Raises:
        MedvqaError: the file is missing or damaged, or a matrix is in 8 bits already.
    """
    stored, metadata = open_safetensors(source)
    if any(tensor.dtype == "I8" for tensor in stored.values()):
        raise MedvqaError(f"{source} is in 8 bits already")
    tensors: dict[str, Bits] = dict(stored)
    for _, _, place, child in _matrices(_outline(sizes).model):
        if f"{place}weight" in stored and child.weight.size >= _SMALL:
            shrunk = EightBits(stored[f"{place}weight"], axis=0 if isinstance(child, nn.Embedding) else 1)
            tensors |= {f"{place}weight": shrunk, f"{place}weight{SCALE}": shrunk.scale}
    write_safetensors(target, tensors, metadata)


def _outline(sizes: LanguageConfig) -> Language:
    """A language model whose weights take no memory until they are given a value."""
    with no_init_weights(), paddle.LazyGuard():
        return sizes.build()


def _matrices(model: nn.Layer) -> Iterator[tuple[nn.Layer, str, str, nn.Layer]]:
    """Each place where a layer holds a linear layer or an embedding: the layer, the name there, the prefix of the names
    of weight and bias, and what stands there. A tied embedding stands in several places."""
    for path, layer in list(model.named_sublayers(include_self=True)):
        for name, child in list(layer.named_children()):
            if isinstance(child, nn.Linear | nn.Embedding):
                yield layer, name, f"{path}.{name}.".lstrip("."), child


def _keep_as_stored(model: nn.Layer, stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """Put matrices from `stored` in the place of linear layers and embeddings; returns what has no such place."""
    rest, done = dict(stored), {}
    for layer, name, place, child in _matrices(model):
        tensor = rest.get(f"{place}weight")
        if child not in done:
            if tensor is None or list(tensor.shape) != child.weight.shape or child.weight.size < _SMALL:
                continue
            scale = rest.pop(f"{place}weight{SCALE}", None)
            matrix = Matrix(_mapped(tensor), None if scale is None else scale.bits())
            bias = rest.pop(f"{place}bias", None) if getattr(child, "bias", None) is not None else None
            done[child] = (
                FrozenEmbedding(matrix)
                if isinstance(child, nn.Embedding)
                else FrozenLinear(matrix, None if bias is None else values(bias))
            )
        rest.pop(f"{place}weight", None)
        setattr(layer, name, done[child])
    return rest


def _mapped(tensor: Stored) -> np.ndarray:
    """The elements of a stored tensor, mapped into memory and read when they are used (bfloat16 as uint16)."""
    # Copy-on-write, because Paddle takes no array that cannot be written; nothing ever is.
    return np.memmap(tensor.file, DTYPES[tensor.dtype], "c", tensor.offset, tensor.shape)
