"""What one picture shows, and the answers that follow from it.

Places are those of the examination; `Scene.seen` moves them to where the camera shows them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, reduce

import numpy as np

from imageclef_vqa.editions.questions import NOT_RELEVANT, QUESTIONS
from imageclef_vqa.synthetic.geometry import (
    Mask,
    cells_of,
    extent_mask,
    landmark_mask,
    lattice,
    polyp_mask,
    view_mask,
)
from imageclef_vqa.synthetic.instruments import instrument_mask
from imageclef_vqa.synthetic.shapes import Camera, Diffuse, Instrument, Landmark, Polyp, Resection, View

Colour = tuple[float, float, float]

# The prefix of an image's id tells the batch in which it was collected.
POLYPS, COLITIS, OESOPHAGITIS, INSTRUMENTS = BATCHES = ("cl8k2", "cla82", "clb0k", "clb0l")

# Largest radius of each size, in heights of the frame. What is sampled keeps a distance from these borders.
SIZES = {"< 5mm": 0.066, "5-10mm": 0.111, "11-20mm": 0.170, ">20mm": 1.0}

# An abnormality that stands out less than this is not easy to detect.
EASY_CONTRAST = 0.75

# The landmark's places have an order and a spelling of their own.
_LANDMARK_SPELLING = {"Lower-right": "Lower-rigth"}


@dataclass(frozen=True)
class Scene:
    """One picture.

    `contrast` (0 to 1) is how far the abnormality stands out from the mucosa, `texture` seeds its noise, `style` is
    the layout of the burnt-in text and `taken` the time that it tells.
    """

    batch: str
    procedure: str
    view: View
    camera: Camera
    mucosa: Colour
    lumen: tuple[float, float]
    texture: int
    contrast: float
    text: bool
    style: int
    taken: datetime
    polyps: tuple[Polyp, ...] = ()
    diffuse: Diffuse | None = None
    landmark: Landmark | None = None
    instruments: tuple[Instrument, ...] = ()
    resection: Resection | None = None

    @cached_property
    def seen(self) -> Scene:
        """The same scene with every thing at the place where the camera shows it."""
        camera = self.camera
        return replace(
            self,
            lumen=camera.see(*self.lumen),
            polyps=tuple(polyp.seen(camera) for polyp in self.polyps),
            landmark=self.landmark and self.landmark.seen(camera),
            instruments=tuple(instrument.seen(camera) for instrument in self.instruments),
            resection=self.resection and self.resection.seen(camera),
        )

    def frame(self, rng: np.random.Generator) -> Scene:
        """Another frame of this examination: the camera a little elsewhere, at another second of the same minute."""
        second = (self.taken.second + int(rng.integers(1, 60))) % 60
        return replace(self, camera=Camera.near_rest(rng), taken=self.taken.replace(second=second))

    def answers(self) -> dict[int, tuple[str, ...]]:
        """Question id → answers, for all questions, members in the order of the question bank."""
        abnormal, landmark, tools = self._masks()
        polyps = len(self.polyps)
        nothing = "No" if self.diffuse is None else NOT_RELEVANT
        ill = bool(polyps or self.diffuse)
        given: dict[int, set[str]] = {
            0: {self.procedure},
            1: {"No"} if polyps else {"Yes"} if self.resection else set(),
            2: {"Yes" if self.contrast >= EASY_CONTRAST else "No"} if ill else set(),
            3: {"Yes" if self.view.box else "No"},
            4: {"Yes" if self.text else "No"},
            5: {colour for thing in (*self.polyps, self.diffuse) if thing for colour in thing.colours},
            6: set(self.landmark.colours) if self.landmark else set(),
            7: {str(polyps + (self.diffuse is not None) + (self.landmark is not None))},
            8: {str(polyps)},
            9: {str(len(self.instruments))},
            10: self._places(abnormal),
            11: self._places(tools),
            12: ({"Polyp"} if polyps else set()) | ({self.diffuse.name} if self.diffuse else set()) or {"No"},
            13: {self.landmark.name if self.landmark else nothing},
            14: {instrument.name for instrument in self.instruments} or {nothing},
            15: {_LANDMARK_SPELLING.get(cell, cell) for cell in self._places(landmark)},
            16: {size_of(polyp.radius) for polyp in self.seen.polyps},
            17: {f"Paris {polyp.kind}" for polyp in self.polyps},
        }
        return {
            question.id: tuple(sorted(given[question.id] or {NOT_RELEVANT}, key=question.known.index))
            for question in QUESTIONS
        }

    def _masks(self) -> tuple[list[Mask], list[Mask], list[Mask]]:
        """What abnormalities, landmark and instruments cover, thing by thing."""
        seen, shape = self.seen, lattice(self.view)
        abnormal = [polyp_mask(polyp, shape) for polyp in seen.polyps]
        if self.diffuse:
            abnormal.append(extent_mask(self.diffuse, self.camera, shape))
        landmark = [landmark_mask(seen.landmark, shape)] if seen.landmark else []
        return abnormal, landmark, [instrument_mask(instrument, shape) for instrument in seen.instruments]

    def _places(self, masks: list[Mask]) -> set[str]:
        """The cells that one of the things at least is in."""
        view = view_mask(self.view, lattice(self.view))
        return reduce(set.union, (cells_of(mask, view) for mask in masks), set[str]())


def size_of(radius: float) -> str:
    """The size of a polyp from its radius in heights of the frame."""
    return next(size for size, largest in SIZES.items() if radius < largest)
