"""The things that a picture can show, and the camera that moves them.

Places are fractions of the frame's width and height, lengths fractions of its height, angles radians.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A shift (fractions of the frame), a zoom about its centre, and the brightness of the light."""

    dx: float
    dy: float
    zoom: float
    light: float

    @classmethod
    def near_rest(cls, rng: np.random.Generator) -> Camera:
        dx, dy = rng.uniform(-0.02, 0.02, 2)
        return cls(float(dx), float(dy), float(rng.uniform(0.96, 1.05)), float(rng.uniform(0.92, 1.06)))

    def see(self, x: float, y: float) -> tuple[float, float]:
        return 0.5 + (x - 0.5) * self.zoom + self.dx, 0.5 + (y - 0.5) * self.zoom + self.dy

    def window(self) -> tuple[float, float, float, float]:
        """Left, upper, right and lower border of what the camera sees."""
        left, upper = 0.5 - (0.5 + self.dx) / self.zoom, 0.5 - (0.5 + self.dy) / self.zoom
        return left, upper, left + 1 / self.zoom, upper + 1 / self.zoom


@dataclass(frozen=True)
class View:
    """The part of the frame that is picture.

    `outline` is "octagon" or "barrel", `left` a black margin, `corner` what is cut off.

    `box` is the colour of the box in the lower left corner: "black", "green", or "" without one.
    """

    aspect: float
    outline: str
    left: float
    corner: float
    box: str


@dataclass(frozen=True)
class Polyp:
    """`kind` is its Paris type; `radius` the geometric mean of its half axes; a stalk leaves at `angle`."""

    x: float
    y: float
    radius: float
    kind: str
    angle: float
    colours: tuple[str, ...]

    def seen(self, camera: Camera) -> Polyp:
        x, y = camera.see(self.x, self.y)
        return replace(self, x=x, y=y, radius=self.radius * camera.zoom)


@dataclass(frozen=True)
class Diffuse:
    """An inflammation or metaplasia that spreads over `cells`."""

    name: str
    cells: tuple[str, ...]
    colours: tuple[str, ...]


@dataclass(frozen=True)
class Landmark:
    name: str
    x: float
    y: float
    radius: float
    angle: float
    colours: tuple[str, ...]

    def seen(self, camera: Camera) -> Landmark:
        x, y = camera.see(self.x, self.y)
        return replace(self, x=x, y=y, radius=self.radius * camera.zoom)


@dataclass(frozen=True)
class Instrument:
    """It enters at (x0, y0), usually from outside the view, and ends at (x1, y1)."""

    name: str
    x0: float
    y0: float
    x1: float
    y1: float

    def seen(self, camera: Camera) -> Instrument:
        (x0, y0), (x1, y1) = camera.see(self.x0, self.y0), camera.see(self.x1, self.y1)
        return replace(self, x0=x0, y0=y0, x1=x1, y1=y1)


@dataclass(frozen=True)
class Resection:
    """The site where a polyp was: `dyed` blue, or raw with a coagulated rim."""

    x: float
    y: float
    radius: float
    dyed: bool

    def seen(self, camera: Camera) -> Resection:
        x, y = camera.see(self.x, self.y)
        return replace(self, x=x, y=y, radius=self.radius * camera.zoom)
