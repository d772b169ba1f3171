"""Instruments, drawn as strokes with the shading of rods; each kind has its own shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from imageclef_vqa.synthetic.geometry import Mask, Shape
from imageclef_vqa.synthetic.shapes import Instrument

Point = tuple[float, float]
Rgb = tuple[int, int, int]

_STEEL: Rgb = (172, 176, 182)
_DARK: Rgb = (92, 96, 104)
_BRASS: Rgb = (204, 166, 84)
_WIRE: Rgb = (228, 228, 216)
_TEFLON: Rgb = (238, 236, 226)
_RUBBER: Rgb = (150, 178, 200)
_BLUE: Rgb = (56, 120, 190)


@dataclass(frozen=True)
class Stroke:
    """A line through `points`; coordinates and `width` in heights of the frame."""

    points: tuple[Point, ...]
    width: float
    colour: Rgb


def strokes(instrument: Instrument, aspect: float) -> list[Stroke]:
    """The strokes of an instrument, back to front, in its own axes: `a` along the shaft, 0 at the tip; `b` across."""
    x0, y0, x1, y1 = instrument.x0 * aspect, instrument.y0, instrument.x1 * aspect, instrument.y1
    length = math.hypot(x1 - x0, y1 - y0)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length

    def line(width: float, colour: Rgb, *points: Point) -> Stroke:
        return Stroke(tuple((x1 + a * ux - b * uy, y1 + a * uy + b * ux) for a, b in points), width, colour)

    start, tip = (-length, 0.0), (0.0, 0.0)
    if instrument.name == "Tube":
        marks = [line(0.13, _DARK, (-0.08 - 0.09 * k, 0.0), (-0.095 - 0.09 * k, 0.0)) for k in range(3)]
        return [line(0.13, _RUBBER, start, tip), *marks, line(0.07, (40, 28, 30), (-0.01, 0.0), tip)]
    if instrument.name == "Biopsy forceps":
        jaws = [line(0.028, _STEEL, tip, (0.05, s * 0.055), (0.105, s * 0.052), (0.125, s * 0.02)) for s in (-1, 1)]
        return [line(0.046, _STEEL, start, tip), line(0.06, _DARK, (-0.05, 0.0), tip), *jaws]
    if instrument.name == "Polyp snare":
        turn = np.linspace(0, 2 * math.pi, 33).tolist()
        loop = [(0.135 - 0.135 * math.cos(t), 0.085 * math.sin(t)) for t in turn]
        return [line(0.018, _WIRE, *loop), line(0.05, _TEFLON, start, tip)]
    if instrument.name == "Metal clip":
        prongs = [line(0.024, _STEEL, (-0.03, 0.0), (0.06, s * 0.05), (0.10, s * 0.022)) for s in (-1, 1)]
        return [line(0.04, _BRASS, start, (-0.03, 0.0)), *prongs]
    if instrument.name == "Injection needle":
        return [line(0.014, _STEEL, tip, (0.13, 0.0)), line(0.055, _BLUE, start, tip)]
    raise ValueError(instrument.name)


def _trace(draw: ImageDraw.ImageDraw, stroke: Stroke, scale: float, share: float, fill: Rgb | int) -> None:
    points = [(scale * x, scale * y) for x, y in stroke.points]
    width = max(1, round(scale * stroke.width * share))
    draw.line(points, fill=fill, width=width, joint="curve")


def instrument_mask(instrument: Instrument, shape: Shape) -> Mask:
    """The pixels that the instrument covers."""
    height, width = shape
    drawing = Image.new("L", (width, height))
    for stroke in strokes(instrument, width / height):
        _trace(ImageDraw.Draw(drawing), stroke, height, 1.0, 255)
    return np.asarray(drawing) > 127


def draw_instruments(image: Image.Image, instruments: tuple[Instrument, ...]) -> None:
    """Paint `instruments` with a soft shadow on an RGB image; they are drawn at twice its resolution."""
    large = (2 * image.width, 2 * image.height)
    colours, cover = Image.new("RGB", large), Image.new("L", large)
    paint, mark = ImageDraw.Draw(colours), ImageDraw.Draw(cover)
    for instrument in instruments:
        for stroke in strokes(instrument, image.width / image.height):
            _trace(mark, stroke, large[1], 1.0, 255)
            for share, shade in ((1.0, 0.55), (0.74, 0.82), (0.5, 1.0), (0.2, 1.22)):
                r, g, b = (min(255, round(shade * channel)) for channel in stroke.colour)
                _trace(paint, stroke, large[1], share, (r, g, b))
    small = cover.reduce(2)
    reach = max(1, image.height // 64)
    shadow = ImageChops.offset(small.filter(ImageFilter.BoxBlur(reach)), reach).point(lambda value: value * 0.5)
    image.paste((30, 8, 6), None, shadow)
    image.paste(colours.reduce(2), None, small)
