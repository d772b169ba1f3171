"""The image index: one row per image, made by reading and decoding each image once.

Every call reads and hashes all files; a row of the cached index is used for the file with its content. Names, sizes and
dates of files decide nothing. A damaged cache is ignored and replaced.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from imageclef_vqa.errors import FileError
from imageclef_vqa.files import atomic_write
from imageclef_vqa.inputs import open_input, read_bytes, sha256
from imageclef_vqa.progress import track

FORMATS = ("JPEG", "PNG")
PATCH = 64  # side of the patch that is compared, pixels
_HEIGHT, _MAX_WIDTH = 256, 1024  # size at which burnt-in text is compared, pixels
_MARGIN = 112  # width of the margins that hold burnt-in text, at that size
_LEFT_ROWS, _RIGHT_ROWS = (30, 116), (0, 32)  # where processors write the date: upper left, or top right
LEFT_LINES, RIGHT_LINES = _LEFT_ROWS[1] - _LEFT_ROWS[0], _RIGHT_ROWS[1] - _RIGHT_ROWS[0]
_TEXTURE = 25  # larger contrasts are highlights, not texture

ROW = np.dtype(
    [
        ("sha256", "S64"),  # of the file
        ("width", "<i4"),
        ("height", "<i4"),
        ("hash", "?", (64,)),  # imagehash.phash of the centre
        ("patch", "i1", (PATCH, PATCH)),  # texture of the centre
        ("text", "u1", (LEFT_LINES + RIGHT_LINES, _MARGIN)),  # brightness of thin bright strokes in the margins
    ]
)

Item = TypeVar("Item")
Result = TypeVar("Result")


class ImageError(Exception):
    """Why an image cannot be used, in words for the user."""


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], description: str) -> Iterator[Result]:
    """`function` of every item, in order, on all cores (Pillow releases the interpreter's lock)."""
    executor = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield from track(executor.map(function, items), description, len(items))
    finally:
        executor.shutdown(cancel_futures=True)


def open_image(content: bytes) -> Image.Image:
    """A JPEG or PNG whose header is read and whose size is acceptable; its pixels are not decoded yet.

    Raises:
        ImageError: it is neither, or a decompression bomb.
    """
    try:
        return Image.open(BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels, a decompression bomb") from error
    except Exception as error:  # Pillow's readers raise nearly any exception on hostile bytes
        raise ImageError("not an image (JPEG or PNG)") from error


def as_rgb(image: Image.Image) -> Image.Image:
    """The decoded pixels as stored.

    An EXIF orientation is not applied: locations in the labels ("Upper-left") and the masks of the data set refer to
    the stored pixels.

    Raises:
        ImageError: the file is truncated or damaged.
    """
    try:
        if image.mode.startswith("I"):  # grey of 16 bits, of which `convert` would keep the lowest 8 and saturate
            image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
        return image.convert("RGB")
    except Exception as error:
        raise ImageError(f"truncated or damaged ({error})") from error


def index_images(paths: Sequence[Path], cache: Path | None) -> tuple[np.ndarray, dict[int, ImageError]]:
    """Rows of the index in the order of `paths` (files of one folder), and position → why an image cannot be used.

    The row of an unusable image is empty.
    """
    rows = np.zeros(len(paths), dtype=ROW)
    store = None if cache is None or not paths else _store(cache, paths[0].parent)
    stored = {row["sha256"]: row for row in _read(store)}
    new = list(range(len(paths)))
    if stored:
        digests = [_digest_of(path) for path in paths]
        new = [index for index, digest in enumerate(digests) if digest not in stored]
        for index, digest in enumerate(digests):
            if digest in stored:
                rows[index] = stored[digest]
    faults: dict[int, ImageError] = {}
    for index, facts in zip(new, in_threads(_examine, [paths[i] for i in new], "reading images"), strict=True):
        if isinstance(facts, ImageError):
            faults[index] = facts
        else:
            rows[index] = facts
    if store and len(new) > len(faults):
        with atomic_write(store, "wb") as file:
            file.write(_packed(np.delete(rows, list(faults))))
    return rows, faults


def _digest_of(path: Path) -> bytes:
    """SHA-256 of a file, as the index holds it; empty if the file cannot be read."""
    try:
        return sha256(path).encode()
    except FileError:
        return b""


def _store(cache: Path, folder: Path) -> Path:
    """The file of the cached index of the images in `folder`."""
    return cache / f"images-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}.npz"


def _packed(rows: np.ndarray) -> bytes:
    """The content of the cached index, packed in memory: NumPy's error for a full disk does not say what it is."""
    with BytesIO() as file:
        np.savez(file, rows=rows)
        return file.getvalue()


def _read(store: Path | None) -> np.ndarray:
    """The cached index; no rows if there is none or it is damaged."""
    nothing = np.zeros(0, dtype=ROW)
    if store is None or not store.is_file():
        return nothing
    try:
        with open_input(store) as file, np.load(file, allow_pickle=False) as arrays:
            rows = arrays["rows"]  # covered by the checksum of the zip
    except FileError:
        raise
    except Exception:  # NumPy and zipfile raise nearly any exception on damaged bytes
        return nothing
    return rows if rows.dtype == ROW and rows.ndim == 1 else nothing


def _examine(path: Path) -> tuple | ImageError:
    """The fields of `ROW`, or why the image cannot be used."""
    import imagehash

    try:
        content = read_bytes(path)
        image = open_image(content)
        width, height = image.size
        image.draft("RGB", (_HEIGHT, _HEIGHT))  # decodes to a smaller size, but still reads every byte
        rgb = as_rgb(image)
    except FileError as error:
        return ImageError(error.what)
    except ImageError as fault:
        return fault
    # Only the centre: with masks and burnt-in boxes, all images of one processor would look alike.
    box = (0.25 * rgb.width, 0.05 * rgb.height, 0.95 * rgb.width, 0.95 * rgb.height)
    centre = rgb.convert("L").resize((PATCH, PATCH), Image.Resampling.BOX, box=box)
    smooth = centre.filter(ImageFilter.BoxBlur(3))
    texture = np.asarray(centre, dtype=np.int16) - np.asarray(smooth, dtype=np.int16)
    return (
        hashlib.sha256(content).hexdigest(),
        width,
        height,
        imagehash.phash(centre).hash.ravel(),
        texture.clip(-_TEXTURE, _TEXTURE).astype(np.int8),
        _burnt_in_text(rgb),
    )


def _burnt_in_text(rgb: Image.Image) -> np.ndarray:
    """Brightness of thin strokes in both margins, uint8 [lines, margin]."""
    red, green, blue = rgb.split()
    white = ImageChops.darker(ImageChops.darker(red, green), blue)  # mucosa is dark in blue, text in no channel
    width = min(max(round(rgb.width * _HEIGHT / rgb.height), 1), _MAX_WIDTH)
    white = white.resize((width, _HEIGHT), Image.Resampling.BOX)
    left = white.crop((0, _LEFT_ROWS[0], _MARGIN, _LEFT_ROWS[1]))
    right = white.crop((width - _MARGIN, _RIGHT_ROWS[0], width, _RIGHT_ROWS[1]))
    margins = Image.fromarray(np.concatenate([np.asarray(left), np.asarray(right)]))
    opened = margins.filter(ImageFilter.MinFilter(5)).filter(ImageFilter.MaxFilter(5))
    return np.asarray(ImageChops.subtract(margins, opened))  # white top-hat: keeps strokes, removes bright surfaces
