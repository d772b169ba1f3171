"""Masks of objects, and the cells of the 3 × 3 grid that a mask covers.

Shapes of arrays are (height, width) in pixels; positions are fractions of the frame, lengths fractions of its height.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from imageclef_vqa.synthetic.shapes import Camera, Diffuse, Landmark, Polyp, Viewport

Field = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Shape = tuple[int, int]

# The 3 × 3 grid, row by row, in the spelling of the question bank.
CELLS = (
    *("Upper-left", "Upper-center", "Upper-right"),
    *("Center-left", "Center", "Center-right"),
    *("Lower-left", "Lower-center", "Lower-right"),
)

# An object is in a cell that contains this share of the object, or of whose visible part it covers this share. Cells
# that are mostly hidden by the box do not count.
SHARE, FILL, VISIBLE = 1 / 6, 1 / 3, 1 / 5

# Upper right corner of the box, which covers most of the lower left cell.
BOX_RIGHT, BOX_UPPER = 0.305, 0.685


def lattice(view: Viewport) -> Shape:
    """The resolution at which answers are measured."""
    return 120, round(120 * view.aspect)


def offsets(x: float, y: float, shape: Shape) -> tuple[Field, Field]:
    """Distances of all pixels from a position, in heights: across [1, w] and down [h, 1]."""
    height, width = shape
    across = ((np.arange(width, dtype=np.float32) + 0.5) / width - x) * (width / height)
    down = (np.arange(height, dtype=np.float32) + 0.5) / height - y
    return across[None, :].astype(np.float32), down[:, None].astype(np.float32)


def polyp_axes(polyp: Polyp, across: Field, down: Field) -> tuple[Field, Field]:
    """Coordinates in which the head of the polyp is the unit disc; a flat polyp is wider than high."""
    stretch = 1.3 if polyp.kind == "iia" else 1.08
    tilt = polyp.angle / 2 if polyp.kind == "iia" else 0.0
    c, s = math.cos(tilt), math.sin(tilt)
    return (across * c + down * s) / (polyp.radius * stretch), (down * c - across * s) * (stretch / polyp.radius)


def stalk_axes(polyp: Polyp, across: Field, down: Field) -> tuple[Field, Field]:
    """Along the stalk (0 at the head's centre, 1 at its root) and across it (1 at its sides)."""
    c, s = math.cos(polyp.angle), math.sin(polyp.angle)
    along = (across * c + down * s) / (2.3 * polyp.radius)
    waist = polyp.radius * (0.3 + 0.45 * np.clip(along - 0.6, 0, 0.4))
    return along, (down * c - across * s) / waist


def polyp_mask(polyp: Polyp, shape: Shape) -> Mask:
    across, down = offsets(polyp.x, polyp.y, shape)
    u, v = polyp_axes(polyp, across, down)
    mask: Mask = u * u + v * v < 1
    if polyp.kind == "ip":
        along, side = stalk_axes(polyp, across, down)
        mask |= (along > 0) & (along < 1) & (np.abs(side) < 1)
    return mask


def landmark_reach(landmark: Landmark, across: Field, down: Field) -> Field:
    """Distance from the landmark's centre, 1 on its wavy edge."""
    distance = np.hypot(across, down)
    theta = np.arctan2(down, across) + np.float32(landmark.angle)
    ragged = 0.09 if landmark.name == "Z-line" else 0.03
    edge = 1 + ragged * (np.sin(3 * theta) + 0.7 * np.sin(7 * theta + 1.3))
    reach: Field = distance / (landmark.radius * edge)
    return reach


def landmark_mask(landmark: Landmark, shape: Shape) -> Mask:
    return landmark_reach(landmark, *offsets(landmark.x, landmark.y, shape)) < 1


def extent(diffuse: Diffuse, camera: Camera, shape: Shape) -> Field:
    """1 well inside the cells of the disease, 0 well outside, 1/2 at their border."""
    cells = np.array([cell in diffuse.cells for cell in CELLS], np.float32).reshape(3, 3)
    # A margin of one cell, equal to its neighbour: the camera may look a little beyond the frame.
    around = Image.fromarray(np.pad(cells, 1, mode="edge"))
    left, upper, right, lower = (1 + 3 * border for border in camera.window())
    height, width = shape
    return np.asarray(around.resize((width, height), Image.Resampling.BICUBIC, box=(left, upper, right, lower)))


def extent_mask(diffuse: Diffuse, camera: Camera, shape: Shape) -> Mask:
    return extent(diffuse, camera, shape) > 0.5


def view_image(view: Viewport, shape: Shape) -> Image.Image:
    """White in the visible part of the frame, without regard to the box."""
    left, right, cut = view.left, 1.0 - 0.02 * (view.left > 0), view.corner
    upper, lower = (0.02, 0.98) if view.left > 0 else (0.0, 1.0)
    if view.outline == "octagon":
        x, y = cut / view.aspect, cut
        outline = [(left + x, upper), (right - x, upper), (right, upper + y), (right, lower - y)]
        outline += [(right - x, lower), (left + x, lower), (left, lower - y), (left, upper + y)]
    else:
        turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
        across = (left + right) / 2 + (right - left) / 2 * np.cos(turn)
        down = np.clip(0.5 + (0.5 + cut) * np.sin(turn), upper, lower)
        outline = list(zip(across.tolist(), down.tolist(), strict=True))
    height, width = shape
    large = Image.new("L", (2 * width, 2 * height))
    ImageDraw.Draw(large).polygon([(2 * width * x, 2 * height * y) for x, y in outline], fill=255)
    return large.reduce(2)


def view_mask(view: Viewport, shape: Shape) -> Mask:
    mask: Mask = np.asarray(view_image(view, shape)) > 127
    if view.box:
        mask[round(BOX_UPPER * shape[0]) :, : round(BOX_RIGHT * shape[1])] = False
    return mask


def cells_of(mask: Mask, view: Mask) -> frozenset[str]:
    """The cells that contain the visible part of `mask`."""
    shown = mask & view
    total = max(int(shown.sum()), 1)
    found = set()
    height, width = mask.shape
    rows, columns = np.linspace(0, height, 4).round().astype(int), np.linspace(0, width, 4).round().astype(int)
    for index, cell in enumerate(CELLS):
        row, column = divmod(index, 3)
        here = np.s_[rows[row] : rows[row + 1], columns[column] : columns[column + 1]]
        inside, visible = int(shown[here].sum()), int(view[here].sum())
        if visible >= VISIBLE * view[here].size and (inside >= SHARE * total or inside >= FILL * visible):
            found.add(cell)
    return frozenset(found)
