"""Descriptors of an image: histograms of colours and edge directions in cells of a grid, and a thumbnail.

Each of the three kinds is given twice: as it lies in the image, and as the mean over the eight ways to turn and mirror
the image, because an endoscope has no upright position.

i images, s side in pixels, c cells along a side, b bins, f features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

SIZE = 128  # side of the described images in pixels
VERSION = "hsv 4x4x8, orientations 8x8x8, thumbnail 16, means over turns; 3"
_COLOUR_CELLS, _COLOUR_BINS = 4, 8
_EDGE_CELLS, _EDGE_BINS = 8, 8
_THUMBNAIL = 16
_CHUNK = 64  # images at a time: about 100 MB of intermediate values
# Features of each kind: hue, saturation and value; edges; thumbnail.
BLOCKS = (3 * _COLOUR_CELLS**2 * _COLOUR_BINS, _EDGE_CELLS**2 * _EDGE_BINS, 3 * _THUMBNAIL**2)
FEATURES = 2 * sum(BLOCKS)  # with the means over turns


def describe(pixels: NDArray[np.uint8]) -> Floats:
    """Features [i, f] of `pixels` [i, SIZE, SIZE, 3] (RGB): the three `BLOCKS`, then their means over turns."""
    chunks = [_describe(pixels[start : start + _CHUNK]) for start in range(0, len(pixels), _CHUNK)]
    return np.concatenate(chunks) if chunks else np.zeros((0, FEATURES))


def _describe(pixels: NDArray[np.uint8]) -> Floats:
    rgb: Floats = pixels.astype(np.float32) / np.float32(255)
    # Square roots and logarithms give more weight to differences between small values.
    channels = np.moveaxis(_to_hsv(rgb), -1, 0)
    grids = [np.sqrt(_histogram(channel, _COLOUR_CELLS, _COLOUR_BINS)) for channel in channels]
    angle, strength = _gradients(rgb)
    edges = np.log1p(255 * _histogram(angle, _EDGE_CELLS, _EDGE_BINS, strength))
    thumbnail = _thumbnail(rgb)
    means = [*map(_mean_over_turns, grids), _mean_over_turns(edges, directions=True), _mean_over_turns(thumbnail)]
    return np.concatenate([grid.reshape(len(pixels), -1) for grid in (*grids, edges, thumbnail, *means)], axis=1)


def _mean_over_turns(grid: Floats, *, directions: bool = False) -> Floats:
    """The mean of `grid` [i, c, c, b] over the eight symmetries of the square.

    If the bins are `directions`, a mirrored grid has them in reverse, and a transposed one mirrored at a diagonal.
    """
    for axis in (1, 2):
        grid = (grid + np.flip(grid, (axis, 3) if directions else axis)) / 2
    transposed = grid.swapaxes(1, 2)
    if directions:
        transposed = np.roll(transposed[..., ::-1], grid.shape[3] // 2, axis=3)
    return (grid + transposed) / 2


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
    """Direction (0 to 1 is half a turn) and strength of the edges, each [i, s, s], from central differences."""
    grey = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    down, right = np.zeros_like(grey), np.zeros_like(grey)
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    right[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    half_turn = np.float32(np.pi)
    angle: Floats = np.arctan2(down, right) % half_turn / half_turn
    return angle, np.hypot(down, right)


def _histogram(values: Floats, cells: int, bins: int, weights: Floats | None = None) -> NDArray[np.float64]:
    """The share [i, c, c, b] of each bin of `values` [i, s, s] (0 to 1) in each cell; with `weights`, their sum."""
    images, side = values.shape[:2]
    row = np.arange(side) * cells // side
    cell = np.arange(images)[:, None, None] * cells**2 + row[:, None] * cells + row
    index = cell * bins + np.minimum((values * bins).astype(np.int64), bins - 1)
    counts = np.bincount(
        index.ravel(), weights=None if weights is None else weights.ravel(), minlength=images * cells**2 * bins
    )
    return counts.reshape(images, cells, cells, bins) / (side / cells) ** 2


def _thumbnail(rgb: Floats) -> Floats:
    """The image in few pixels, [i, c, c, 3]."""
    images, side = rgb.shape[:2]
    patch = side // _THUMBNAIL
    patches = rgb.reshape(images, _THUMBNAIL, patch, _THUMBNAIL, patch, 3)
    return patches.mean(axis=(2, 4))
