"""The image index: every image is read and decoded once, and all that later steps ask of it is kept.

The index is an array of `ROW`, one row per image. A copy in the cache is trusted for files whose name, size and time of
change are the same; anything odd about that copy, and it is made anew.
"""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from imageclef_vqa.files import atomic_write
from imageclef_vqa.progress import track

FORMATS = ("JPEG", "PNG")
PATCH = 64  # side of the patch on which pairs are compared, pixels
_HEIGHT, _WIDEST = 256, 1024  # the scale at which burnt-in text is compared, pixels
_MARGIN = 112  # width of the margins that hold burnt-in text, at that scale
_LEFT_ROWS, _RIGHT_ROWS = (30, 116), (0, 32)  # where the makers' processors write the date: upper left, or top right
LEFT_LINES, RIGHT_LINES = _LEFT_ROWS[1] - _LEFT_ROWS[0], _RIGHT_ROWS[1] - _RIGHT_ROWS[0]
_TEXTURE = 25  # contrast beyond this is a highlight, not texture

ROW = np.dtype(
    [
        ("key", "S64"),
        ("sha256", "S64"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("hash", "?", (64,)),  # imagehash.phash of the middle of the picture
        ("patch", "i1", (PATCH, PATCH)),  # the same middle, its texture alone
        ("text", "u1", (LEFT_LINES + RIGHT_LINES, _MARGIN)),  # brightness of thin bright strokes in the margins
    ]
)

Item = TypeVar("Item")
Result = TypeVar("Result")


class ImageError(Exception):
    """Why an image cannot be used, in the words that a user reads."""


def in_threads(function: Callable[[Item], Result], items: Sequence[Item], description: str) -> Iterator[Result]:
    """`function` of every item, in order, on all cores (Pillow lets go of the interpreter's lock)."""
    executor = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield from track(executor.map(function, items), description, len(items))
    finally:
        executor.shutdown(cancel_futures=True)


def open_image(content: bytes) -> Image.Image:
    """A JPEG or PNG, its header read and its size found sane, no pixel decoded yet.

    Raises:
        ImageError: it is neither, or it is a decompression bomb.
    """
    try:
        return Image.open(BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels, a decompression bomb") from error
    except Exception as error:  # Pillow's readers raise nearly anything on hostile bytes
        raise ImageError("not an image (JPEG or PNG)") from error


def as_rgb(image: Image.Image) -> Image.Image:
    """The decoded pixels, as they are stored: an EXIF orientation is not applied, for places ("Upper-left") in the
    labels and the masks of the data set are those of the stored pixels.

    Raises:
        ImageError: the file is truncated or damaged.
    """
    try:
        return image.convert("RGB")
    except Exception as error:
        raise ImageError(f"truncated or damaged ({error})") from error


def index_images(paths: Sequence[Path], cache: Path | None) -> tuple[np.ndarray, dict[int, ImageError]]:
    """Rows of the index in the order of `paths` (files of one folder), and the faults by position.

    The row of a faulty image is empty.
    """
    rows = np.zeros(len(paths), dtype=ROW)
    rows["key"] = keys = [_key(path) for path in paths]
    store = None if cache is None or not paths else cache / f"images-{_digest(str(paths[0].parent.resolve()))[:12]}.npz"
    known = _read(store)
    place = {key: at for at, key in enumerate(known["key"])}
    hits = [at for at, key in enumerate(keys) if key in place]
    rows[hits] = known[[place[keys[at]] for at in hits]]
    misses = sorted(set(range(len(paths))) - set(hits))
    faults: dict[int, ImageError] = {}
    for at, row in zip(misses, in_threads(_examine, [paths[at] for at in misses], "reading images"), strict=True):
        if isinstance(row, ImageError):
            faults[at] = row
        else:
            rows[at] = (keys[at], *row)
    if store and len(misses) > len(faults):
        with atomic_write(store, "wb") as file:
            np.savez(file, rows=np.delete(rows, list(faults)))
    return rows, faults


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _key(path: Path) -> bytes:
    status = path.stat()
    return _digest(f"{path.name} {status.st_size} {status.st_mtime_ns}").encode()


def _read(store: Path | None) -> np.ndarray:
    nothing = np.zeros(0, dtype=ROW)
    if store is None or not store.is_file():
        return nothing
    try:
        with store.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            rows = arrays["rows"]  # the zip's own checksum covers them
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error):
        return nothing
    return rows if rows.dtype == ROW and rows.ndim == 1 else nothing


def _examine(path: Path) -> tuple | ImageError:
    import imagehash

    try:
        content = path.read_bytes()
        image = open_image(content)
        width, height = image.size
        image.draft("RGB", (_HEIGHT, _HEIGHT))  # a smaller transform, but every byte is still read
        rgb = as_rgb(image)
    except OSError as error:
        return ImageError(f"cannot be read ({error.strerror})")
    except ImageError as fault:
        return fault
    # The middle alone: masks and burnt-in boxes at the rim would make all pictures of one maker look alike.
    box = (0.25 * rgb.width, 0.05 * rgb.height, 0.95 * rgb.width, 0.95 * rgb.height)
    middle = rgb.convert("L").resize((PATCH, PATCH), Image.Resampling.BOX, box=box)
    smooth = middle.filter(ImageFilter.BoxBlur(3))
    texture = np.asarray(middle, dtype=np.int16) - np.asarray(smooth, dtype=np.int16)
    return (
        hashlib.sha256(content).hexdigest(),
        width,
        height,
        imagehash.phash(middle).hash.ravel(),
        texture.clip(-_TEXTURE, _TEXTURE).astype(np.int8),
        _burnt_in_text(rgb),
    )


def _burnt_in_text(rgb: Image.Image) -> np.ndarray:
    red, green, blue = rgb.split()
    white = ImageChops.darker(ImageChops.darker(red, green), blue)  # mucosa is dark in blue, text in no channel
    width = min(max(round(rgb.width * _HEIGHT / rgb.height), 1), _WIDEST)
    white = white.resize((width, _HEIGHT), Image.Resampling.BOX)
    left = white.crop((0, _LEFT_ROWS[0], _MARGIN, _LEFT_ROWS[1]))
    right = white.crop((width - _MARGIN, _RIGHT_ROWS[0], width, _RIGHT_ROWS[1]))
    margins = Image.fromarray(np.concatenate([np.asarray(left), np.asarray(right)]))
    opened = margins.filter(ImageFilter.MinFilter(5)).filter(ImageFilter.MaxFilter(5))
    return np.asarray(ImageChops.subtract(margins, opened))  # white top-hat: strokes stay, bright surfaces go
