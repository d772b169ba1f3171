"""Small copies of images for a report that people share: without metadata, and with a limit on their total size."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from PIL import Image

from imageclef_vqa.data.images import ImageError, as_rgb, in_threads, open_image
from imageclef_vqa.errors import FileError
from imageclef_vqa.inputs import read_bytes

# Longer side in pixels, and average bytes per thumbnail. All are too small to read burnt-in text.
_SIZES = ((144, 4000), (112, 2700), (88, 1900))
_QUALITY = 68


def make_thumbnails(images: Mapping[str, Path], budget: int) -> dict[str, bytes]:
    """Image id → JPEG, for `images` (image id → file), with at most `budget` bytes in all; more images are smaller.

    Only pixels are copied: no EXIF, comment, profile or embedded preview. Unreadable images are left out, and so are
    the last ones if the budget is used up.
    """
    side = next((side for side, size in _SIZES if size * len(images) <= budget), _SIZES[-1][0])
    thumbnails: dict[str, bytes] = {}
    made = in_threads(lambda path: _thumbnail(path, side), list(images.values()), "drawing thumbnails")
    for image_id, content in zip(images, made, strict=True):
        if content is not None and len(content) <= budget:
            thumbnails[image_id] = content
            budget -= len(content)
    return thumbnails


def _thumbnail(path: Path, side: int) -> bytes | None:
    try:
        image = open_image(read_bytes(path))
        image.draft("RGB", (2 * side, 2 * side))
        small = as_rgb(image)
    except (FileError, ImageError):
        return None
    small.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=None)
    # Pillow copies the comment of a JPEG: only a new image has nothing but pixels.
    bare = Image.frombytes("RGB", small.size, small.tobytes())
    with BytesIO() as file:
        bare.save(file, "JPEG", quality=_QUALITY, optimize=True)
        return file.getvalue()
