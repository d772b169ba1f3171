"""Decoded pixels of a data set: each file is decoded once, not once per epoch."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from imageclef_vqa.data.dataset import Dataset, Example
from imageclef_vqa.data.images import ImageError, as_rgb, in_threads, open_image
from imageclef_vqa.errors import DataError, FileError, MissingFileError
from imageclef_vqa.files import atomic_write
from imageclef_vqa.inputs import open_input, read_bytes

_METHOD = "bicubic square RGB, 1"  # part of the cache key: change it if decoding changes
_DIGEST = hashlib.sha256().digest_size


def load_pixels(dataset: Dataset, size: int, cache: Path | None) -> np.ndarray:
    """Pixels [i, size, size, 3], uint8 RGB, of all images, in the order of `dataset.examples`.

    Images are resized to a square without cropping (BLIP-2, bicubic). With a `cache`, the array is memory-mapped
    read-only from a file there: NumPy's format, and after it the SHA-256 of all that. A damaged file is replaced.

    Raises:
        DataError: an image cannot be decoded, or has changed since the data set was read.
    """
    shape = (len(dataset), size, size, 3)
    if cache is None:
        return np.array(list(_decoded(dataset, size)), dtype=np.uint8).reshape(shape)
    key = "\n".join([_METHOD, str(size), *(example.sha256 for example in dataset.examples)])
    path = cache / f"pixels-{size}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    if (cached := _mapped(path, shape)) is not None:
        return cached
    with atomic_write(path, "wb") as file:
        digest = hashlib.sha256()
        for part in chain([_header(shape)], (image.tobytes() for image in _decoded(dataset, size))):
            file.write(part)
            digest.update(part)
        file.write(digest.digest())
    mapped = _mapped(path, shape)
    assert mapped is not None, "the pixels just written do not fit"
    return mapped


def read_pixels(path: Path, size: int) -> np.ndarray:
    """Pixels [size, size, 3], uint8 RGB, of one image file with any name, without a cache.

    Raises:
        DataError: it cannot be read, or is no image.
    """
    return _squeezed(read_picture(path), size)


def read_picture(path: Path) -> Image.Image:
    """One image file with any name, as RGB in its own size. Raises as `read_pixels`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return as_rgb(open_image(read_bytes(path)))
    except ImageError as fault:
        raise DataError([f"{path}: {fault}"]) from fault


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The cached pixels; None if there are none, they have another shape, or the file has another hash than its own."""
    try:
        with open_input(path) as file:
            content = np.memmap(file, dtype=np.uint8, mode="r")
    except (MissingFileError, ValueError):  # ValueError: the file is empty
        return None
    header, whole = _header(shape), content[:-_DIGEST]
    if content[: len(header)].tobytes() != header or len(whole) != len(header) + math.prod(shape):
        return None
    intact = hashlib.sha256(whole.data).digest() == content[-_DIGEST:].tobytes()
    return whole[len(header) :].reshape(shape) if intact else None


def _header(shape: tuple[int, ...]) -> bytes:
    """What a file of NumPy's format begins with."""
    with BytesIO() as header:
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return header.getvalue()


def _decoded(dataset: Dataset, size: int) -> Iterator[np.ndarray]:
    problems = []
    images = in_threads(partial(_decode, size=size), dataset.examples, "decoding images")
    for example, image in zip(dataset.examples, images, strict=True):
        if isinstance(image, ImageError):
            problems.append(f"{example.image}: {image}")
        else:
            yield image
    if problems:
        raise DataError(
            problems, remedy="restore these files, or run the command again, which reads the data set again"
        )


def _decode(example: Example, size: int) -> np.ndarray | ImageError:
    try:
        content = read_bytes(example.image)
        if hashlib.sha256(content).hexdigest() != example.sha256:
            return ImageError("has changed since the data set was read")
        return _squeezed(as_rgb(open_image(content)), size)
    except FileError as error:
        return ImageError(error.what)
    except ImageError as fault:
        return fault


def _squeezed(picture: Image.Image, size: int) -> np.ndarray:
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))
