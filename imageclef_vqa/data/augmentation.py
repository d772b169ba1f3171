"""Random changes to an image that keep its answers true, or change them in a known way.

turn     one of the eight symmetries of the square; locations in the answers turn with the image
jitter   brightness, contrast and saturation; not if a colour is asked, or the box, which is recognised by its colour
crop     a part of the image, enlarged; only if no question is about something that the crop could cut off
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from imageclef_vqa.editions import NOT_RELEVANT, QUESTIONS

_COLOURS = {question.id for question in QUESTIONS if question.asks == "colour" or question.about == "box"}
# Only the procedure is visible in every part of an image. Findings, instruments and landmarks can be cut off, and with
# them their number, size, type, colour and location; so can text and box.
_ANYWHERE = {question.id for question in QUESTIONS if question.about == "procedure"}

TURNS = 8
_JITTER = 0.2  # largest relative change of brightness, contrast and saturation
_CROP = 0.8  # smallest side of a crop, relative to the image
_LOCATION = re.compile(r"(upper|center|lower)-(left|center|right|rigth)")  # landmarks are spelt "rigth"
_ROWS, _COLUMNS = {"upper": 0, "center": 1, "lower": 2}, {"left": 0, "center": 1, "right": 2, "rigth": 2}

Cell = tuple[int, int]  # row and column of the 3 × 3 grid


@dataclass(frozen=True)
class View:
    """A change to an image; the default changes nothing.

    Attributes:
        turn: bit 4 swaps rows and columns, then bit 2 flips upside down, and bit 1 mirrors left and right.
        jitter: factors of brightness, contrast and saturation.
        crop: side, left and top relative to the image.
    """

    turn: int = 0
    jitter: tuple[float, float, float] = (1.0, 1.0, 1.0)
    crop: tuple[float, float, float] = (1.0, 0.0, 0.0)

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """The changed image, uint8 [s, s, 3], of a square image of the same shape."""
        if self == PLAIN:
            return pixels
        side, left, top = (share * len(pixels) for share in self.crop)
        image = Image.fromarray(pixels)
        if side < len(pixels):
            image = image.resize(image.size, Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        for enhance, factor in zip(enhancers, self.jitter, strict=True):
            image = enhance(image).enhance(factor) if factor != 1.0 else image
        return _turn(np.asarray(image), self.turn)

    def answers(self, question_id: int, answers: Sequence[str], members: Iterable[str]) -> tuple[str, ...]:
        """The answers that are true of the changed image; locations are spelt as in `members`.

        Raises:
            KeyError: `members` has no name for a location, so the image must not be turned.
        """
        if self.turn == 0 or QUESTIONS[question_id].asks != "location":
            return tuple(answers)
        names = {cell: member for member in members if (cell := _cell(member)) is not None}
        return tuple(each if each == NOT_RELEVANT else names[_turned(each, self.turn)] for each in answers)


PLAIN = View()
# Mirrored or not, upside down or not: few views, whose features can be cached, and each of them undoes itself.
MIRRORED = tuple(View(turn) for turn in range(4))
DrawView = Callable[[Collection[int], np.random.Generator], View]


def draw_view(asked: Collection[int], rng: np.random.Generator) -> View:
    """A random view in which the questions `asked` can still be answered."""
    turn = int(rng.integers(TURNS))
    # The number of draws does not depend on the questions: those of one image do not affect the next image.
    factors, (side, left, top) = 1 + _JITTER * rng.uniform(-1, 1, 3), rng.uniform(size=3)
    side = 1 - (1 - _CROP) * side
    brightness, contrast, saturation = factors.tolist()
    return View(
        turn,
        PLAIN.jitter if _COLOURS & set(asked) else (brightness, contrast, saturation),
        (side, left * (1 - side), top * (1 - side)) if _ANYWHERE.issuperset(asked) else PLAIN.crop,
    )


def draw_mirrored(_asked: Collection[int], rng: np.random.Generator) -> View:
    """One of the `MIRRORED` views, at random."""
    return MIRRORED[rng.integers(len(MIRRORED))]


def _turn(grid: np.ndarray, turn: int) -> np.ndarray:
    grid = grid.swapaxes(0, 1) if turn & 4 else grid
    grid = grid[::-1] if turn & 2 else grid
    return np.ascontiguousarray(grid[:, ::-1] if turn & 1 else grid)


def _turned(location: str, turn: int) -> Cell:
    """The cell to which `location` moves: the turn of the pixels, applied to a 3 × 3 grid."""
    cell = _cell(location)
    if cell is None:
        raise KeyError(location)
    grid = np.zeros((3, 3), bool)
    grid[cell] = True
    row, column = np.argwhere(_turn(grid, turn))[0]
    return int(row), int(column)


def _cell(location: str) -> Cell | None:
    """The cell that a location names; None if it names none."""
    if location.casefold() == "center":
        return 1, 1
    match = _LOCATION.fullmatch(location.casefold())
    return (_ROWS[match[1]], _COLUMNS[match[2]]) if match else None
