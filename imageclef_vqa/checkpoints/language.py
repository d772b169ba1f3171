"""A language model with the weights of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import paddle
from paddle import nn

from imageclef_vqa.checkpoints.layers import load_weights
from imageclef_vqa.checkpoints.safetensors import open_safetensors
from imageclef_vqa.checkpoints.stored import DTYPES, Stored, values
from imageclef_vqa.models.configs import LanguageConfig
from imageclef_vqa.models.language.frozen import FrozenEmbedding, FrozenLinear, Matrix
from imageclef_vqa.models.language.interface import Language
from imageclef_vqa.models.language.languages import build_language
from imageclef_vqa.models.language.paddlenlp import no_init_weights

SCALE = ".scale"  # added to the name of a matrix in 8 bits: the name of its scale
# Smaller matrices, such as T5's relative positions, are loaded and stored in full.
_SMALL = 2**14


def stored_bits(file: Path | None) -> Literal[8, 16, 32]:
    """The bits per number of the matrices in a safetensors file; 32 without one, as of a model that starts at random.

    Raises:
        MedvqaError: the file is damaged.
    """
    if file is None:
        return 32
    types = {tensor.dtype for tensor in open_safetensors(file)[0].values()}
    return 8 if "I8" in types else 32 if types == {"F32"} else 16


def load_language(config: LanguageConfig, file: Path) -> Language:
    """A language model with the weights of a safetensors file, under the names of its `model`.

    Weights in float32 are read. Others stay in the file, mapped into memory, and are widened when needed.

    Raises:
        MedvqaError: the file is missing, damaged, or does not fit; the differences are listed.
    """
    stored, _ = open_safetensors(file)
    if stored_bits(file) == 32:
        language = build_language(config)
        load_weights(language.model, stored, str(file))
        return language
    language = outline(config)
    load_weights(language.model, _map_matrices(language.model, stored), str(file))
    return language


def outline(config: LanguageConfig) -> Language:
    """A language model whose weights take no memory until they are set."""
    with no_init_weights(), paddle.LazyGuard():
        return build_language(config)


def matrices(model: nn.Layer) -> Iterator[tuple[nn.Layer, str, str, nn.Layer]]:
    """Every linear layer and embedding of at least `_SMALL` weights: (owner, attribute, name prefix, layer).

    A tied embedding occurs more than once.
    """
    for path, owner in list(model.named_sublayers(include_self=True)):
        for name, child in list(owner.named_children()):
            if isinstance(child, nn.Linear | nn.Embedding) and child.weight.size >= _SMALL:
                yield owner, name, f"{path}.{name}.".lstrip("."), child


def _map_matrices(model: nn.Layer, stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """Replace linear layers and embeddings by frozen ones with matrices from `stored`; returns the other tensors."""
    rest, done = dict(stored), {}
    for owner, name, prefix, child in matrices(model):
        tensor = rest.get(f"{prefix}weight")
        if child not in done:
            if tensor is None or list(tensor.shape) != child.weight.shape:
                continue
            scale = rest.pop(f"{prefix}weight{SCALE}", None)
            matrix = Matrix(_mapped(tensor), None if scale is None else scale.bits())
            bias = rest.pop(f"{prefix}bias", None) if getattr(child, "bias", None) is not None else None
            done[child] = (
                FrozenEmbedding(matrix)
                if isinstance(child, nn.Embedding)
                else FrozenLinear(matrix, None if bias is None else values(bias))
            )
        rest.pop(f"{prefix}weight", None)
        setattr(owner, name, done[child])
    return rest


def _mapped(tensor: Stored) -> np.ndarray:
    """The elements of a stored tensor, mapped into memory and read when they are used (bfloat16 as uint16)."""
    # Copy-on-write, because Paddle refuses read-only arrays; nothing is ever written.
    return np.memmap(tensor.file, DTYPES[tensor.dtype], "c", tensor.offset, tensor.shape)
