"""The tables of `medvqa weights show` and `verify`: the parts of a source, the outputs that were compared."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.checkpoints.stored import Stored
from imageclef_vqa.errors import shortened
from imageclef_vqa.progress import track

if TYPE_CHECKING:
    from imageclef_vqa.checkpoints.verify import Compared

_SHAPES = 3


@dataclass(frozen=True)
class Part:
    """The tensors whose names begin with `name`."""

    name: str
    tensors: int
    dtypes: tuple[str, ...]
    shapes: dict[str, int]  # shape → how many, the most frequent first
    parameters: int
    hash: str  # SHA-256 over names, types, shapes and values

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def summarise(source: Source) -> list[Part]:
    """The parts of a source, by the first name of its tensors."""
    parts: dict[str, dict[str, Stored]] = {}
    for name, tensor in sorted(source.tensors.items()):
        parts.setdefault(name.split(".")[0], {})[name] = tensor
    return [_summary(part, tensors) for part, tensors in parts.items()]


def _summary(part: str, tensors: dict[str, Stored]) -> Part:
    digest = hashlib.sha256()
    for name, tensor in track(tensors.items(), part, len(tensors)):
        digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(np.asarray(tensor.bits(), order="C").tobytes())
    shapes = Counter("×".join(map(str, tensor.shape)) or "scalar" for tensor in tensors.values())
    return Part(
        name=part,
        tensors=len(tensors),
        dtypes=tuple(sorted({tensor.dtype for tensor in tensors.values()})),
        shapes=dict(shapes.most_common()),
        parameters=sum(math.prod(tensor.shape) for tensor in tensors.values()),
        hash=digest.hexdigest(),
    )


def as_table(parts: Sequence[Part]) -> Table:
    table = Table("part", "tensors", "type", "shapes", "parameters", "hash")
    for part in parts:
        shapes = [f"{shape} ({count})" for shape, count in part.shapes.items()]
        named = ", ".join(shortened(shapes, _SHAPES))
        table.add_row(
            part.name, str(part.tensors), " ".join(part.dtypes), named, f"{part.parameters:,}", part.hash[:12]
        )
    return table


def comparison_table(rows: Sequence[Compared]) -> Table:
    table = Table("tensor", "shape", "largest difference", "tolerance", "")
    for row in rows:
        shape = "×".join(map(str, row.shape))
        table.add_row(row.name, shape, f"{row.difference:.2e}", f"{row.tolerance:.0e}", "ok" if row.passed else "FAILS")
    return table
