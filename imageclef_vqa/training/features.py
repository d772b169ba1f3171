"""A cache of the frozen vision encoder's features on disk, shared by all folds, runs and stages.

They are the output of its last layer: the norm that follows is trained (LAVIS: `ln_vision`).

features-<vision>.f16    rows [p, d] in fp16, memory-mapped
features-<vision>.jsonl  a line per row: its index, the SHA-256 of the pixels, the SHA-256 of the row

<vision> is a hash of the encoder's sizes and weights. A row is used only if it has a line and the right hash: a file
that was cut short is continued, and damaged rows are computed again.

i images, p patches, d width of the vision encoder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import paddle
from paddle import Tensor

from imageclef_vqa.data.augmentation import PLAIN, View
from imageclef_vqa.errors import FileError, MedvqaError, file_error
from imageclef_vqa.files import open_append
from imageclef_vqa.inputs import parse_json, read_bytes
from imageclef_vqa.models.encoder import Encoder
from imageclef_vqa.progress import track

_METHOD = "before the norm, float32, rounded to fp16"  # part of the key: what is computed, and how
_BATCH = 8


@paddle.no_grad()
def rounded_features(vision: Encoder, pixels: np.ndarray) -> Tensor:
    """The frozen encoder's features of pixels uint8 [i, h, w, 3], rounded to fp16: [i, p, d].

    They are the same with and without the cache.

    Raises:
        MedvqaError: a feature is not finite in fp16.
    """
    with paddle.amp.auto_cast(enable=False):
        features = vision.read(pixels).astype("float16")
    if not bool(paddle.isfinite(features.astype("float32")).all()):
        raise MedvqaError(
            "vision's features are not finite in fp16",
            remedy="train vision too (--no-freeze-vision), or use other weights",
        )
    return features


class FeatureStore:
    """The features of one vision encoder in `folder`."""

    def __init__(self, folder: Path, vision: Encoder) -> None:
        sizes = vision.config
        key = hashlib.sha256(f"{_METHOD}\n{sizes}".encode())
        for name, tensor in sorted(vision.state_dict().items()):
            if not name.startswith("norm."):
                key.update(name.encode())
                key.update(np.ascontiguousarray(tensor.numpy()).data)
        self._vision, self._row = vision, (sizes.tokens, sizes.width)
        self._file = folder / f"features-{key.hexdigest()[:16]}.f16"
        self._index = self._file.with_suffix(".jsonl")

    def of(self, pixels: np.ndarray, view: View = PLAIN) -> Features:
        """The features of a view of pixels uint8 [i, h, w, 3]; missing or damaged ones are computed and stored.

        Raises:
            MedvqaError: the files cannot be written.
        """
        keys = [hashlib.sha256(np.ascontiguousarray(view.apply(image)).data).hexdigest() for image in pixels]
        with self._for_writing() as (file, index):
            rows = self._valid_rows(keys)
            missing = [number for number, key in enumerate(keys) if key not in rows]
            missing = list({keys[number]: number for number in missing}.values())  # images may be identical
            row = file.tell() // self._bytes
            starts = range(0, len(missing), _BATCH)
            for start in track(starts, "vision features", len(starts)):
                numbers = missing[start : start + _BATCH]
                seen = np.stack([view.apply(pixels[number]) for number in numbers])
                for number, made in zip(numbers, rounded_features(self._vision, seen).numpy(), strict=True):
                    file.write(made.data)
                    file.flush()
                    line = {"row": row, "pixels": keys[number], "sha256": hashlib.sha256(made.data).hexdigest()}
                    index.write(json.dumps(line).encode() + b"\n")
                    index.flush()
                    rows[keys[number]], row = row, row + 1
        return Features(self._mapped(), np.array([rows[key] for key in keys], dtype="int64"))

    @property
    def _bytes(self) -> int:
        return 2 * self._row[0] * self._row[1]

    def _mapped(self) -> np.ndarray:
        rows = self._file.stat().st_size // self._bytes
        if not rows:
            return np.zeros((0, *self._row), "float16")  # an empty file cannot be mapped
        return np.memmap(self._file, "float16", "r", shape=(rows, *self._row))

    def _valid_rows(self, keys: list[str]) -> dict[str, int]:
        """The rows of the features of these pixels that are there and intact."""
        rows, wanted = self._mapped(), set(keys)
        found: dict[str, int] = {}
        for line in read_bytes(self._index).decode(errors="replace").splitlines():
            try:
                entry = parse_json(line)
                row, key, digest = entry["row"], entry["pixels"], entry["sha256"]
            except (ValueError, KeyError, TypeError):
                continue  # cut short, or damaged
            exists = type(key) is str and key in wanted and type(row) is int and 0 <= row < len(rows)
            if exists and hashlib.sha256(rows[row].data).hexdigest() == digest:
                found[key] = row
        return found

    @contextmanager
    def _for_writing(self) -> Iterator[tuple]:
        """Both files, locked and open after their last complete entry; other processes wait for the lock."""
        try:
            with open_append(self._file) as file, open_append(self._index) as index:
                fcntl.flock(index, fcntl.LOCK_EX)
                file.truncate(self._file.stat().st_size // self._bytes * self._bytes)
                file.seek(0, 2)
                if (lines := index.read()) and not lines.endswith(b"\n"):
                    index.write(b"\n")
                yield file, index
        except (OSError, FileError) as error:
            raise FileError(
                (error if isinstance(error, FileError) else file_error(self._file, error, "write")).what,
                remedy="free some space and run again, or use --no-cache-features; what was written is kept",
            ) from error


class Features:
    """Features of a fold's images in the fold's order, read from disk on access; `index` [i] has their rows."""

    def __init__(self, rows: np.ndarray, index: np.ndarray) -> None:
        self._rows, self._index = rows, index

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, images: np.ndarray) -> np.ndarray:
        """fp16 [i, p, d] of the images with these indices."""
        return np.asarray(self._rows[self._index[images]])
