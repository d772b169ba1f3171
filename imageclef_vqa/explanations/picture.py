"""Heat maps as pictures, boxes and places. A map is an array [rows, columns] from 0 to 1 over the whole picture."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

_LARGEST = 2048  # longer side of a drawn picture, pixels
_LEVELS = 16  # of a small map in a report
# From dark violet over red to yellow: brightness rises throughout, so the ramp can be read without telling hues apart.
_RAMP = np.array([(30, 10, 80), (125, 25, 110), (205, 55, 80), (245, 130, 35), (250, 235, 110)], "float32")
_OPAQUE = 0.75  # where a map is 1; where it is 0, the picture is as it was
_REGION = 0.5  # of the peak: what is higher and joined to the peak is its region
_ROWS, _COLUMNS = ("upper", "center", "lower"), ("left", "center", "right")


def draw_over(picture: Image.Image, heat: np.ndarray) -> Image.Image:
    """`picture` (RGB) with the map over it, in its own shape: a model sees it squeezed to a square, uncropped."""
    drawn = picture.convert("RGBA")
    drawn.thumbnail((_LARGEST, _LARGEST))
    grey = Image.fromarray(np.asarray(heat, "float32")).resize(drawn.size, Image.Resampling.BICUBIC)
    levels = (np.asarray(grey).clip(0, 1) * 255).astype("uint8")
    return Image.alpha_composite(drawn, Image.fromarray(_colours(256)[levels])).convert("RGB")


def small_png(heat: np.ndarray) -> bytes:
    """The map as a PNG of one pixel for each cell, to be stretched over a picture: about 200 bytes."""
    levels = Image.fromarray((np.asarray(heat).clip(0, 1) * (_LEVELS - 1)).round().astype("uint8"), "P")
    colours = _colours(_LEVELS)
    levels.putpalette(colours[:, :3].tobytes())
    with BytesIO() as file:
        levels.save(file, "PNG", optimize=True, bits=4, transparency=colours[:, 3].tobytes())
        return file.getvalue()


def png(picture: Image.Image) -> bytes:
    """A picture as PNG, without metadata."""
    with BytesIO() as file:
        picture.save(file, "PNG", optimize=True)
        return file.getvalue()


def place_of_peak(heat: np.ndarray) -> str:
    """The cell of nine with the highest value, as answers name it: `upper-left`, `center`."""
    row, column = divmod(int(np.asarray(heat).argmax()), np.shape(heat)[1])
    names = (_ROWS[_third(row, heat.shape[0])], _COLUMNS[_third(column, heat.shape[1])])
    return "center" if names == ("center", "center") else "-".join(names)


def region_box(heat: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """The box (x1, y1, x2, y2) in pixels around the region of the peak in a picture of `width` and `height`."""
    from scipy.ndimage import label

    heat = np.asarray(heat)
    peak = np.unravel_index(heat.argmax(), heat.shape)
    regions, _ = label(heat > _REGION * heat[peak])
    rows, columns = np.nonzero(regions == regions[peak])
    x1, x2 = (int(at * width / heat.shape[1]) for at in (columns.min(), columns.max() + 1))
    y1, y2 = (int(at * height / heat.shape[0]) for at in (rows.min(), rows.max() + 1))
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def _third(at: int, cells: int) -> int:
    return int((at + 0.5) * 3 / cells)


def _colours(levels: int) -> np.ndarray:
    """Red, green, blue and opacity uint8 [levels, 4] of the values from 0 to 1."""
    value = np.linspace(0, 1, levels)
    channels = [np.interp(value, np.linspace(0, 1, len(_RAMP)), channel) for channel in _RAMP.T]
    return np.stack([*channels, 255 * _OPAQUE * value], axis=1).round().astype("uint8")
