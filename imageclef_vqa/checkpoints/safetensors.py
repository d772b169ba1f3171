"""Safetensors: a header with the type, shape and offsets of every tensor, then their bytes.

Read and written one tensor at a time, so that a file may be larger than memory. (Format:
https://huggingface.co/docs/safetensors. Its own library reads whole files, and bfloat16 only with PyTorch.)
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imageclef_vqa.checkpoints.stored import DTYPES, MOST_DIMENSIONS, LazyTensor, Stored
from imageclef_vqa.errors import MedvqaError, MissingFileError
from imageclef_vqa.files import atomic_write
from imageclef_vqa.inputs import open_input, parse_json
from imageclef_vqa.progress import track

_LARGEST_HEADER = 100_000_000  # bytes, as in the format's own reader
_METADATA = "__metadata__"


def open_safetensors(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """The tensors of a file by name, not read yet, and its metadata.

    Raises:
        MedvqaError: the file is missing, truncated or of another format; every wrong tensor is named.
    """
    try:
        with open_input(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(size - 8, _LARGEST_HEADER):
                raise MedvqaError(
                    f"cannot read weights from {path}: not a safetensors file, or truncated in its header"
                )
            header = parse_json(file.read(length).decode("utf-8"), _without_twins)
    except MissingFileError as error:
        raise MissingFileError(
            error.what, remedy="`medvqa weights convert SRC DST` makes such a folder from published weights"
        ) from error
    except ValueError as error:
        raise MedvqaError(f"cannot read weights from {path}: its header is damaged: {error}") from error
    if not isinstance(header, dict):
        raise MedvqaError(f"cannot read weights from {path}: its header is not a table of tensors")
    metadata = header.pop(_METADATA, {})
    complaints, tensors = [], {}
    for name, entry in header.items():
        try:
            tensors[name] = _stored(name, entry, path, 8 + length, size)
        except ValueError as error:
            complaints.append(f"{name}: {error}")
    if not complaints:
        complaints = list(_overlaps(tensors, 8 + length, size))
    if complaints:
        raise MedvqaError("\n".join([f"cannot read weights from {path}:", *complaints]))
    return tensors, metadata if isinstance(metadata, dict) else {}


def write_safetensors(
    path: Path, tensors: Mapping[str, LazyTensor], metadata: Mapping[str, str] | None = None, *, shown: str = ""
) -> None:
    """Write `tensors` to `path` atomically, one at a time, in the order of the format's own writer.

    `shown` is the label of a progress bar; without it there is none.
    """
    ranks = {dtype: rank for rank, dtype in enumerate(DTYPES)}
    ordered = sorted(tensors.items(), key=lambda item: (-ranks[item[1].dtype], item[0]))
    header: dict[str, Any] = {_METADATA: dict(sorted(metadata.items()))} if metadata else {}
    start = 0
    for name, tensor in ordered:
        end = start + math.prod(tensor.shape) * DTYPES[tensor.dtype].itemsize
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_write(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, tensor in track(ordered, shown, len(ordered)) if shown else ordered:
            bits = np.asarray(tensor.bits(), order="C")
            if bits.shape != tensor.shape or bits.dtype != DTYPES[tensor.dtype]:
                raise ValueError(f"{name}: {bits.dtype} {bits.shape} instead of {tensor.dtype} {tensor.shape}")
            file.write(bits.data if bits.size else b"")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError(f"{Counter(name for name, _ in pairs).most_common(1)[0][0]} occurs twice")
    return table


def _stored(name: str, entry: Any, path: Path, start: int, size: int) -> Stored:
    """The tensor that a line of the header describes.

    Raises:
        ValueError: the line is damaged, or the file ends before the tensor does.
    """
    if not (isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}):
        raise ValueError("the header does not give its type, shape and offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"type {dtype!r} is not one of {', '.join(DTYPES)}")
    if not all(isinstance(part, list) and all(type(n) is int and n >= 0 for n in part) for part in (shape, offsets)):
        raise ValueError("shape and offsets must be lists of integers from 0")
    if len(shape) > MOST_DIMENSIONS:
        raise ValueError(f"{len(shape)} dimensions, more than {MOST_DIMENSIONS}")
    if len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * DTYPES[dtype].itemsize:
        raise ValueError(f"{dtype} {shape} does not fill the bytes {offsets}")
    if start + offsets[1] > size:
        raise ValueError(f"truncated: it ends at byte {start + offsets[1]}, and the file at {size}")
    return Stored(name, path, start + offsets[0], dtype, tuple(shape))


def _overlaps(tensors: Mapping[str, Stored], start: int, size: int) -> Iterable[str]:
    expected = start
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.offset, tensor.nbytes)):
        if tensor.offset != expected:
            yield f"{tensor.name}: begins at byte {tensor.offset} instead of {expected}"
        expected = tensor.offset + tensor.nbytes
    if expected != size:
        yield f"{size - expected} bytes after the last tensor belong to no tensor"
