"""Perturbed pictures, as the organisers of Medico perturb them: one kind of change at a time, drawn for each picture.

crop         a part whose sides are 0.9 to 1 of the picture's, enlarged to its size
rotation     about the centre, up to 10 degrees to either side; the corners become black
shift        up to a tenth of width and height in either direction; the borders become black
brightness   a factor of 0.8 to 1.2
contrast     a factor of 0.8 to 1.2

Gold answers are not changed with the pictures: a shift may move a finding into another cell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from imageclef_vqa.data.dataset import Dataset, Example
from imageclef_vqa.data.images import ImageError, as_rgb, in_threads, open_image
from imageclef_vqa.data.reading import dataset_fingerprint
from imageclef_vqa.errors import DataError
from imageclef_vqa.inputs import read_bytes, sha256

_CROP, _DEGREES, _SHIFT, _JITTER = 0.9, 10.0, 0.1, 0.2

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def _crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    side, left, top = rng.uniform([_CROP, 0, 0], 1).tolist()
    width, height = side * image.width, side * image.height
    left, top = left * (image.width - width), top * (image.height - height)
    return image.resize(image.size, Image.Resampling.BICUBIC, (left, top, left + width, top + height))


def _rotate(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.rotate(float(rng.uniform(-_DEGREES, _DEGREES)), Image.Resampling.BICUBIC)


def _shift(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    right, down = (rng.uniform(-_SHIFT, _SHIFT, 2) * image.size).round().astype(int).tolist()
    shifted = Image.new("RGB", image.size)
    shifted.paste(image, (right, down))
    return shifted


def _brighten(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(float(rng.uniform(1 - _JITTER, 1 + _JITTER)))


def _contrast(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(float(rng.uniform(1 - _JITTER, 1 + _JITTER)))


PERTURBATIONS: Mapping[str, Change] = {
    "crop": _crop,
    "rotation": _rotate,
    "shift": _shift,
    "brightness": _brighten,
    "contrast": _contrast,
}


def perturbed(dataset: Dataset, kind: str, seed: int, folder: Path) -> Dataset:
    """`dataset` with one of `PERTURBATIONS` applied to each picture, which is written to `folder` as PNG.

    The change of a picture follows from `seed`, kind and the picture's bytes, not from its name or the other pictures.

    Raises:
        DataError: a picture cannot be read.
    """

    def change(example: Example) -> Example | ImageError:
        content = read_bytes(example.image)
        key = [seed, *kind.encode(), int(hashlib.sha256(content).hexdigest()[:8], 16)]
        try:
            image = as_rgb(open_image(content))
        except ImageError as fault:
            return fault
        path = folder / f"{example.image_id}.png"
        PERTURBATIONS[kind](image, np.random.default_rng(key)).save(path, compress_level=1)
        return replace(example, image=path, sha256=sha256(path))

    changed: list[Example] = []
    for example, found in zip(
        dataset.examples, in_threads(change, dataset.examples, f"perturbing pictures: {kind}"), strict=True
    ):
        if isinstance(found, ImageError):
            raise DataError([f"{example.image}: {found}"])
        changed.append(found)
    return Dataset(folder, tuple(changed), (), dataset_fingerprint(changed))
