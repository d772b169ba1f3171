"""Positions for objects: centres, borders and corners of the nine cells, where nothing hides the object."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from imageclef_vqa.synthetic.geometry import Mask, view_mask
from imageclef_vqa.synthetic.shapes import Instrument, Viewport

Position = tuple[float, float]

_THIRDS = (1 / 6, 1 / 2, 5 / 6)
CENTRES = tuple((x, y) for y in _THIRDS for x in _THIRDS)
BORDERS = ((1 / 3, 1 / 2), (2 / 3, 1 / 2), (1 / 2, 1 / 3), (1 / 2, 2 / 3))
CORNERS = ((1 / 3, 1 / 3), (2 / 3, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 2 / 3))

_COARSE = 60, 60
_ROUND = np.linspace(0, 2 * math.pi, 24, endpoint=False)


def free_positions(
    positions: Sequence[Position],
    view: Viewport,
    tools: Sequence[Instrument],
    reach: float,
    taken: Sequence[Position] = (),
) -> list[Position]:
    """The visible ones of `positions` with no instrument and no taken position within `reach` (in heights)."""
    shown = view_mask(view, _COARSE)
    return [
        (x, y)
        for x, y in positions
        if _in_view(shown, x, y, reach, view.aspect)
        and all(_distance(x, y, tool) > reach + 0.08 for tool in tools)
        and all(math.hypot(x - a, y - b) > 2.2 * reach for a, b in taken)
    ]


def _in_view(shown: Mask, x: float, y: float, reach: float, aspect: float) -> bool:
    """Whether at least nine tenths of a circle around a position are visible."""
    columns = np.floor((x + reach / aspect * np.cos(_ROUND)) * shown.shape[1]).astype(int)
    rows = np.floor((y + reach * np.sin(_ROUND)) * shown.shape[0]).astype(int)
    inside = (columns >= 0) & (columns < shown.shape[1]) & (rows >= 0) & (rows < shown.shape[0])
    return bool(np.mean(inside & shown[rows.clip(0, shown.shape[0] - 1), columns.clip(0, shown.shape[1] - 1)]) > 0.9)


def _distance(x: float, y: float, tool: Instrument) -> float:
    """Distance from a position to an instrument; its tip extends a fifth of the frame beyond the shaft."""
    start, end = np.array([tool.x0, tool.y0]), np.array([tool.x1, tool.y1])
    shaft = end - start
    end = end + 0.2 * shaft / np.linalg.norm(shaft)
    t = float(np.clip(np.dot((x, y) - start, end - start) / np.dot(end - start, end - start), 0, 1))
    return float(np.linalg.norm((x, y) - (start + t * (end - start))))
