"""The content of one image, and the answers that follow from it.

Positions are those of the examination; `Scene.seen` moves them to where the camera shows them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, reduce

import numpy as np

from imageclef_vqa.editions.questions import NOT_RELEVANT, QUESTIONS, About, Asks
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
from imageclef_vqa.synthetic.shapes import Camera, Diffuse, Instrument, Landmark, Polyp, Resection, Viewport

Colour = tuple[float, float, float]

# The prefix of an image id is the batch in which the image was collected.
POLYPS, COLITIS, OESOPHAGITIS, INSTRUMENTS = BATCHES = ("cl8k2", "cla82", "clb0k", "clb0l")

# Largest radius of each size, in heights of the frame. Sampled radii keep a distance from these borders.
SIZES = {"< 5mm": 0.066, "5-10mm": 0.111, "11-20mm": 0.170, ">20mm": 1.0}

# Below this contrast, an abnormality is not easy to detect.
EASY_CONTRAST = 0.75

# The labels of landmarks have their own spelling.
_LANDMARK_SPELLING = {"Lower-right": "Lower-rigth"}


@dataclass(frozen=True)
class Scene:
    """One image.

    Attributes:
        contrast: of the abnormality against the mucosa, from 0 to 1.
        texture: seed of the noise.
        style: layout of the burnt-in text.
        taken: date and time in the burnt-in text.
    """

    batch: str
    procedure: str
    view: Viewport
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
        """The same scene with everything at the position where the camera shows it."""
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
        """Another frame of this examination: the camera has moved a little, within the same minute."""
        second = (self.taken.second + int(rng.integers(1, 60))) % 60
        return replace(self, camera=Camera.near_rest(rng), taken=self.taken.replace(second=second))

    def answers(self) -> dict[int, tuple[str, ...]]:
        """Question id → answers, for all questions, with members in the order of the question bank."""
        abnormal, landmark, tools = self._masks()
        polyps = len(self.polyps)
        none = "No" if self.diffuse is None else NOT_RELEVANT
        abnormalities = {"Polyp"} if polyps else set()
        if self.diffuse:
            abnormalities.add(self.diffuse.name)
        # An empty set stands for "Not relevant".
        answers: dict[tuple[Asks, About], set[str]] = {
            ("kind", "procedure"): {self.procedure},
            ("yes_no", "polyp"): {"No"} if polyps else {"Yes"} if self.resection else set(),
            ("yes_no", "finding"): {"Yes" if self.contrast >= EASY_CONTRAST else "No"} if abnormalities else set(),
            ("yes_no", "box"): {"Yes" if self.view.box else "No"},
            ("yes_no", "text"): {"Yes" if self.text else "No"},
            ("colour", "abnormality"): {c for thing in (*self.polyps, self.diffuse) if thing for c in thing.colours},
            ("colour", "landmark"): set(self.landmark.colours) if self.landmark else set(),
            ("count", "finding"): {str(polyps + (self.diffuse is not None) + (self.landmark is not None))},
            ("count", "polyp"): {str(polyps)},
            ("count", "instrument"): {str(len(self.instruments))},
            ("location", "abnormality"): self._cells(abnormal),
            ("location", "instrument"): self._cells(tools),
            ("location", "landmark"): {_LANDMARK_SPELLING.get(cell, cell) for cell in self._cells(landmark)},
            ("presence", "abnormality"): abnormalities or {"No"},
            ("presence", "landmark"): {self.landmark.name if self.landmark else none},
            ("presence", "instrument"): {instrument.name for instrument in self.instruments} or {none},
            ("size", "polyp"): {size_of(polyp.radius) for polyp in self.seen.polyps},
            ("kind", "polyp"): {f"Paris {polyp.kind}" for polyp in self.polyps},
        }
        return {
            question.id: tuple(
                sorted(answers[question.asks, question.about] or {NOT_RELEVANT}, key=question.known.index)
            )
            for question in QUESTIONS
        }

    def _masks(self) -> tuple[list[Mask], list[Mask], list[Mask]]:
        """Masks of the abnormalities, the landmark and the instruments, one for each object."""
        seen, shape = self.seen, lattice(self.view)
        abnormal = [polyp_mask(polyp, shape) for polyp in seen.polyps]
        if self.diffuse:
            abnormal.append(extent_mask(self.diffuse, self.camera, shape))
        landmark = [landmark_mask(seen.landmark, shape)] if seen.landmark else []
        return abnormal, landmark, [instrument_mask(instrument, shape) for instrument in seen.instruments]

    def _cells(self, masks: list[Mask]) -> set[str]:
        """The cells that contain at least one of the objects."""
        view = view_mask(self.view, lattice(self.view))
        return reduce(set.union, (cells_of(mask, view) for mask in masks), set[str]())


def size_of(radius: float) -> str:
    """The size of a polyp from its radius in heights of the frame."""
    return next(size for size, largest in SIZES.items() if radius < largest)
