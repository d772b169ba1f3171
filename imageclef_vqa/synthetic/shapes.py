"""The objects that an image can show, and the camera that moves them.

Positions are fractions of the frame's width and height, lengths are fractions of its height, angles are in radians.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Box = Literal["black", "green", ""]


@dataclass(frozen=True)
class Camera:
    """A shift (in fractions of the frame), a zoom about its centre, and the brightness of the light."""

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
        """Left, upper, right and lower border of the visible part of the examination."""
        left, upper = 0.5 - (0.5 + self.dx) / self.zoom, 0.5 - (0.5 + self.dy) / self.zoom
        return left, upper, left + 1 / self.zoom, upper + 1 / self.zoom


@dataclass(frozen=True)
class Viewport:
    """The visible part of the frame.

    Attributes:
        aspect: width of the frame divided by its height.
        left: width of a black margin.
        corner: size of the corners that are cut off.
        box: colour of the box in the lower left corner; "" without a box.
    """

    aspect: float
    outline: Literal["octagon", "barrel"]
    left: float
    corner: float
    box: Box


@dataclass(frozen=True)
class Polyp:
    """`kind` is the Paris type, `radius` the geometric mean of the half axes, `angle` the direction of a stalk."""

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
    """A shaft from (x0, y0), usually outside the frame, to (x1, y1)."""

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
    """The site of a removed polyp: `dyed` blue, or raw with a coagulated rim."""

    x: float
    y: float
    radius: float
    dyed: bool

    def seen(self, camera: Camera) -> Resection:
        x, y = camera.see(self.x, self.y)
        return replace(self, x=x, y=y, radius=self.radius * camera.zoom)
