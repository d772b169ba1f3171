"""Which part of a picture an endoscope sees. Around it are a dark frame, text, and a box that the recorder draws.

Nothing there is tissue, but its shape tells which recorder made a picture, and models learn that from few images.
"""

from __future__ import annotations

import numpy as np

_DARK = 28  # brightest channel of a pixel of the frame: JPEG does not keep black exactly
_DRAWN = 60  # by how much green and blue exceed red in a drawn box; no tissue does that
_SPECKS = 64  # lit spots narrower than this part of the side are letters
_LEAST = 0.2  # of the picture; where less is lit, nothing can be told from darkness


def field_of_view(pixels: np.ndarray) -> np.ndarray:
    """Which pixels, bool [h, w], of a picture uint8 [h, w, 3] the endoscope sees: the largest lit region and its holes.

    All of them, where too little is lit to tell.
    """
    from scipy.ndimage import binary_dilation, binary_erosion, binary_fill_holes, label

    red, green, blue = np.moveaxis(pixels.astype("int16"), -1, 0)
    lit = (pixels.max(axis=-1) > _DARK) & (np.minimum(green, blue) <= red + _DRAWN)
    narrow = max(1, len(pixels) // _SPECKS)
    without_specks = binary_dilation(binary_erosion(lit, iterations=narrow, border_value=1), iterations=narrow)
    regions, count = label(without_specks)
    if not count:
        return np.ones_like(lit)
    sizes = np.bincount(regions.ravel())
    seen = binary_fill_holes(regions == 1 + sizes[1:].argmax())
    return np.asarray(seen) if seen.mean() > _LEAST else np.ones_like(lit)


def shares(seen: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """How much of each cell of a grid, float32 [rows, columns], lies in the part `seen`, bool [h, w], of a picture."""
    starts = [
        np.ceil(np.arange(cells) * size / cells).astype(int)
        for size, cells in zip(seen.shape, (rows, columns), strict=True)
    ]
    sums = np.add.reduceat(np.add.reduceat(seen.astype("float32"), starts[0], axis=0), starts[1], axis=1)
    heights, widths = (np.diff([*start, size]) for start, size in zip(starts, seen.shape, strict=True))
    return np.asarray(sums / np.outer(heights, widths), dtype="float32")
