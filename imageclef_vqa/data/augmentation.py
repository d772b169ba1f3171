"""Random changes to a picture under which its answers stay true, or change along with it.

turn     one of the eight symmetries of the square; places named in the answers turn with the picture
jitter   brightness, contrast and saturation; not where a colour is asked, nor the box, which is known by its colour
crop     a part of the picture, enlarged; only where nothing is asked that lies somewhere in the picture
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance

from imageclef_vqa.editions import NOT_RELEVANT, QUESTIONS

_COLOURS = {question.id for question in QUESTIONS if question.asks == "colour" or question.about == "box"}
# Only the procedure shows in every part of an image. Findings, instruments and landmarks can be cut off, and with
# them their number, size, type, colour and location; so can text and box.
_ANYWHERE = {question.id for question in QUESTIONS if question.about == "procedure"}

TURNS = 8
_JITTER = 0.2  # largest change of brightness, contrast and saturation, as a share
_CROP = 0.8  # smallest side of a crop, as a share of the picture's
_PLACE = re.compile(r"(upper|center|lower)-(left|center|right|rigth)")  # the landmark's list writes "rigth"
_ROWS, _COLUMNS = {"upper": 0, "center": 1, "lower": 2}, {"left": 0, "center": 1, "right": 2, "rigth": 2}

Cell = tuple[int, int]


@dataclass(frozen=True)
class View:
    """One way to look at a picture; the default is to leave it as it is.

    `turn`: bit 4 swaps rows and columns, then bit 2 turns upside down, bit 1 mirrors left and right. `jitter`: factors
    of brightness, contrast and saturation. `crop`: side, left and top as shares of the picture.
    """

    turn: int = 0
    jitter: tuple[float, float, float] = (1.0, 1.0, 1.0)
    crop: tuple[float, float, float] = (1.0, 0.0, 0.0)

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """The square picture, uint8 [s, s, 3], seen so."""
        if self == PLAIN:
            return pixels
        side, left, top = (share * len(pixels) for share in self.crop)
        picture = Image.fromarray(pixels)
        if side < len(pixels):
            box = (left, top, left + side, top + side)
            picture = picture.resize(picture.size, Image.Resampling.BICUBIC, box)
        for enhance, factor in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), self.jitter, strict=True
        ):
            picture = enhance(picture).enhance(factor) if factor != 1.0 else picture
        return _turn(np.asarray(picture), self.turn)

    def answers(self, question_id: int, answers: Sequence[str], members: Iterable[str]) -> tuple[str, ...]:
        """What is true of the picture seen so; places are spelt as one of `members`.

        Raises:
            KeyError: a place has no name among them, so the picture must not be turned.
        """
        if self.turn == 0 or QUESTIONS[question_id].asks != "location":
            return tuple(answers)
        names = {cell: member for member in members if (cell := _cell(member)) is not None}
        return tuple(each if each == NOT_RELEVANT else names[_turned(each, self.turn)] for each in answers)


PLAIN = View()


def draw_view(asked: Collection[int], rng: np.random.Generator) -> View:
    """A random view of a picture under which the questions `asked` can still be answered."""
    turn = int(rng.integers(TURNS))
    # Always as many draws, so that what is asked of one picture does not change what happens to the next one.
    factors, (side, left, top) = 1 + _JITTER * rng.uniform(-1, 1, 3), rng.uniform(size=3)
    side = 1 - (1 - _CROP) * side
    brightness, contrast, saturation = factors.tolist()
    return View(
        turn,
        (1.0, 1.0, 1.0) if _COLOURS & set(asked) else (brightness, contrast, saturation),
        (side, left * (1 - side), top * (1 - side)) if _ANYWHERE.issuperset(asked) else (1.0, 0.0, 0.0),
    )


def _turn(grid: np.ndarray, turn: int) -> np.ndarray:
    grid = grid.swapaxes(0, 1) if turn & 4 else grid
    grid = grid[::-1] if turn & 2 else grid
    return np.ascontiguousarray(grid[:, ::-1] if turn & 1 else grid)


def _turned(place: str, turn: int) -> Cell:
    """Where the cell called `place` comes to lie: what is done to the pixels, done to a picture of three by three."""
    cell = _cell(place)
    if cell is None:
        raise KeyError(place)
    picture = np.zeros((3, 3), bool)
    picture[cell] = True
    row, column = np.argwhere(_turn(picture, turn))[0]
    return int(row), int(column)


def _cell(place: str) -> Cell | None:
    """Row and column of a place's name, if it is one."""
    if place.casefold() == "center":
        return 1, 1
    match = _PLACE.fullmatch(place.casefold())
    return (_ROWS[match[1]], _COLUMNS[match[2]]) if match else None
