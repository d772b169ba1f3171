"""What a linear model can see of an image: where which colours and edges are, and a thumbnail.

Letters: i images, s side in pixels, c cells along a side, b bins, f features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imageclef_vqa.data.augmentation import TURNS, View

Floats = NDArray[np.float32]

SIZE = 128  # side of the pictures that are described
VERSION = "hsv 4x4x8, orientations 8x8x8, thumbnail 16; 1"  # saved with a model: other features need another one
_COLOUR_CELLS, _COLOUR_BINS = 4, 8
_EDGE_CELLS, _EDGE_BINS = 8, 8
_THUMBNAIL = 16
_CHUNK = 64  # images at a time: some 100 MB of intermediate values
BLOCKS = (3 * _COLOUR_CELLS**2 * _COLOUR_BINS, _EDGE_CELLS**2 * _EDGE_BINS, 3 * _THUMBNAIL**2)  # features of each


def describe(pixels: NDArray[np.uint8]) -> Floats:
    """Features [i, f], the three `BLOCKS` side by side, of `pixels` [i, SIZE, SIZE, 3] (RGB)."""
    chunks = [_describe(pixels[start : start + _CHUNK]) for start in range(0, len(pixels), _CHUNK)]
    return np.concatenate(chunks) if chunks else np.zeros((0, sum(BLOCKS)), np.float32)


def describe_turned(pixels: NDArray[np.uint8]) -> Floats:
    """Features [turns, i, f] of `pixels` in all eight ways to turn and mirror a square, the first as they are."""
    return np.stack([describe(np.stack([View(turn=turn).apply(image) for image in pixels])) for turn in range(TURNS)])


def _describe(pixels: NDArray[np.uint8]) -> Floats:
    rgb: Floats = pixels.astype(np.float32) / np.float32(255)
    # Square roots and logarithms: a difference counts for more where there is little.
    colours = [
        np.sqrt(_histogram(channel, _COLOUR_CELLS, _COLOUR_BINS)) for channel in np.moveaxis(_to_hsv(rgb), -1, 0)
    ]
    angle, strength = _gradients(rgb)
    edges = np.log1p(255 * _histogram(angle, _EDGE_CELLS, _EDGE_BINS, strength))
    return np.concatenate([*colours, edges, _thumbnail(rgb)], axis=1).astype(np.float32)


def _to_hsv(rgb: Floats) -> Floats:
    """Hue, saturation and value, 0 to 1."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    value = rgb.max(axis=-1)
    chroma = value - rgb.min(axis=-1)
    divisor = np.where(chroma == 0, 1, chroma)
    sector = np.where(
        value == red,
        ((green - blue) / divisor) % 6,
        np.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    return np.stack([sector / 6, chroma / np.where(value == 0, 1, value), value], axis=-1)


def _gradients(rgb: Floats) -> tuple[Floats, Floats]:
    """Direction of the edge (0 to 1 is half a turn) and its strength, each [i, s, s], from central differences."""
    grey = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    down, right = np.zeros_like(grey), np.zeros_like(grey)
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    right[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    half_turn = np.float32(np.pi)
    angle: Floats = np.arctan2(down, right) % half_turn / half_turn
    return angle, np.hypot(down, right)


def _histogram(values: Floats, cells: int, bins: int, weights: Floats | None = None) -> NDArray[np.float64]:
    """Per cell of a grid, the share of each bin of `values` [i, s, s] in 0 to 1: [i, c · c · b]."""
    images, side = values.shape[:2]
    row = np.arange(side) * cells // side
    cell = np.arange(images)[:, None, None] * cells**2 + row[:, None] * cells + row
    index = cell * bins + np.minimum((values * bins).astype(np.int64), bins - 1)
    counts = np.bincount(
        index.ravel(), weights=None if weights is None else weights.ravel(), minlength=images * cells**2 * bins
    )
    return counts.reshape(images, -1) / (side / cells) ** 2


def _thumbnail(rgb: Floats) -> Floats:
    images, side = rgb.shape[:2]
    patch = side // _THUMBNAIL
    patches = rgb.reshape(images, _THUMBNAIL, patch, _THUMBNAIL, patch, 3)
    return patches.mean(axis=(2, 4), dtype=np.float32).reshape(images, -1)
