"""Small copies of images for a page that people show each other: pixels alone, and a bound on all of them together."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from PIL import Image

from imageclef_vqa.data.images import ImageError, as_rgb, in_threads, open_image

# Longer side in pixels, and bytes that such a picture takes on average. None is large enough to read burnt-in text.
_SIZES = ((144, 4000), (112, 2700), (88, 1900))
_QUALITY = 68


def make_thumbnails(images: Mapping[str, Path], budget: int) -> dict[str, bytes]:
    """A JPEG for each of `images` (image id → file), smaller where there are many, `budget` bytes in all at most.

    Nothing but pixels is copied: no EXIF, comment, profile or embedded preview. Images that cannot be read, and the
    last ones beyond the budget, are left out.
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
        image = open_image(path.read_bytes())
        image.draft("RGB", (2 * side, 2 * side))
        small = as_rgb(image)
    except (OSError, ImageError):
        return None
    small.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=None)
    # Pillow writes a JPEG's own comment into its copy: only a new image forgets everything but its pixels.
    bare = Image.frombytes("RGB", small.size, small.tobytes())
    with BytesIO() as file:
        bare.save(file, "JPEG", quality=_QUALITY, optimize=True)
        return file.getvalue()
