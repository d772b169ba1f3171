"""Random scenes, by batch, with about the frequencies of the real set.

Objects are placed near the centres, borders and corners of the nine cells, and the radii of polyps keep a distance
from the borders of the size classes, so that few answers depend on a single pixel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import numpy as np

from imageclef_vqa.synthetic.geometry import CELLS
from imageclef_vqa.synthetic.placement import BORDERS, CENTRES, CORNERS, Position, free_positions
from imageclef_vqa.synthetic.scene import BATCHES, COLITIS, INSTRUMENTS, OESOPHAGITIS, POLYPS, Scene
from imageclef_vqa.synthetic.shapes import Box, Camera, Diffuse, Instrument, Landmark, Polyp, Resection, Viewport

Item = TypeVar("Item")

_POLYP_COLOURS = {
    ("Pink",): 30,
    ("Pink", "Red"): 18,
    ("Pink", "White"): 12,
    ("Pink", "Red", "White"): 10,
    ("Red",): 9,
    ("Red", "White"): 5,
    ("Pink", "Yellow"): 5,
    ("White",): 4,
    ("Yellow",): 3,
    ("Purple",): 2,
    ("Orange",): 1,
    ("Red", "Brown"): 1,
}
_COLITIS_COLOURS = {
    ("Pink", "Red"): 42,
    ("Pink", "Red", "White"): 40,
    ("Pink", "White", "Yellow"): 7,
    ("Pink", "Red", "White", "Yellow"): 7,
    ("Pink", "Red", "Brown"): 4,
}
_OESOPHAGITIS_COLOURS = {
    ("Pink", "Red", "White"): 76,
    ("Pink", "White"): 13,
    ("Pink", "Red", "White", "Grey"): 6,
    ("Pink", "White", "Yellow"): 5,
}
_LANDMARK_COLOURS = {("Pink",): 40, ("Red",): 25, ("Pink", "Red"): 25, ("Pink", "White"): 6, ("Yellow",): 4}
_RADII = {(0.046, 0.058): 16, (0.074, 0.098): 30, (0.122, 0.150): 29, (0.190, 0.230): 25}
_EXTENTS: dict[tuple[str, ...], float] = {
    tuple(cell for cell in CELLS if "left" not in cell): 3,
    tuple(cell for cell in CELLS if "right" not in cell): 3,
    tuple(cell for cell in CELLS if not cell.startswith("Upper")): 3,
    tuple(cell for cell in CELLS if not cell.startswith("Lower")): 3,
    tuple(cell for cell in CELLS if "left" in cell): 2,
    tuple(cell for cell in CELLS if "right" in cell): 2,
    tuple(cell for cell in CELLS if cell.startswith("Upper")): 2,
    tuple(cell for cell in CELLS if cell.startswith("Lower")): 2,
}
# Position and radius: one cell, a cross, everything, and towards one side.
_RINGS = {
    (0.5, 0.5, 0.19): 4,
    (0.5, 0.5, 0.35): 5,
    (0.5, 0.5, 0.56): 4,
    (0.64, 0.5, 0.30): 3,
    (0.36, 0.5, 0.30): 2,
    (0.5, 0.36, 0.28): 2,
    (0.5, 0.64, 0.28): 2,
}
_TOOLS = {"Polyp snare": 30, "Biopsy forceps": 25, "Tube": 15, "Injection needle": 15, "Metal clip": 15}
# Both ends of a shaft.
_PATHS = {
    (1.04, 0.98, 0.80, 0.80): 4,
    (1.04, 0.84, 0.62, 0.84): 4,
    (1.04, 0.97, 0.62, 0.62): 3,
    (0.50, 1.04, 0.50, 0.84): 3,
    (0.50, 1.04, 0.50, 0.58): 2,
    (1.04, 0.50, 0.83, 0.50): 2,
    (1.04, 0.50, 0.60, 0.50): 2,
    (1.04, 0.02, 0.80, 0.20): 1,
    (0.50, -0.04, 0.50, 0.18): 1,
    (-0.04, 0.50, 0.18, 0.50): 1,
}


def _pick(rng: np.random.Generator, choices: Mapping[Item, float]) -> Item:
    """A random key, with probability proportional to its weight."""
    keys, weights = list(choices), np.array(list(choices.values()), float)
    return keys[int(rng.choice(len(keys), p=weights / weights.sum()))]


def _one_of(rng: np.random.Generator, choices: Sequence[Item]) -> Item:
    return choices[int(rng.integers(len(choices)))]


def _jittered(rng: np.random.Generator, x: float, y: float) -> Position:
    dx, dy = rng.uniform(-0.012, 0.012, 2)
    return x + float(dx), y + float(dy)


def sample_scene(rng: np.random.Generator, batch: str | None = None) -> Scene:
    """The first frame of a new examination, of `batch` (a prefix of ids) or of a random one."""
    batch = batch or _one_of(rng, BATCHES)
    gastric = {POLYPS: 0.02, COLITIS: 0.0, OESOPHAGITIS: 1.0, INSTRUMENTS: 0.12}[batch]
    upper = bool(rng.random() < gastric)
    view = _view(rng, batch, upper)
    mucosa = (0.90, 0.66, 0.64) if upper else (0.88, 0.53, 0.42)
    r, g, b = (float(channel) for channel in np.array(mucosa) + rng.normal(0, 0.025, 3))
    parts = _contents(rng, batch, upper, view)
    landmark = parts.get("landmark")
    x, y = rng.uniform(0.3, 0.7, 2)
    return Scene(
        batch=batch,
        procedure="Gastroscopy" if upper else "Colonoscopy",
        view=view,
        camera=Camera.near_rest(rng),
        mucosa=(r, g, b),
        lumen=(landmark.x, landmark.y) if landmark else (float(x), float(y)),
        texture=int(rng.integers(2**31)),
        contrast=float(rng.uniform(0.42, 0.55) if rng.random() < 0.25 else rng.uniform(0.92, 1.0)),
        text=bool(rng.random() < {POLYPS: 0.93, COLITIS: 0.9, OESOPHAGITIS: 0.45, INSTRUMENTS: 0.8}[batch]),
        style=_one_of(rng, (0, 2)) if upper else _one_of(rng, (0, 1)),
        taken=datetime(2011, 1, 3, 8) + timedelta(days=int(rng.integers(2000)), seconds=int(rng.integers(8 * 3600))),
        **parts,
    )


def _view(rng: np.random.Generator, batch: str, upper: bool) -> Viewport:
    boxed = rng.random() < {POLYPS: 0.6, COLITIS: 0.35, OESOPHAGITIS: 0.08, INSTRUMENTS: 0.4}[batch]
    box: Box = ("black" if rng.random() < 0.55 else "green") if boxed else ""
    if upper:
        wide = rng.random() < 0.25
        return Viewport(1.6 if wide else 1.25, "barrel", 0.12 if wide else 0.02, 0.12, box)
    if batch == COLITIS:
        return Viewport(1.25, "octagon", 0.06, 0.20, box)
    return Viewport(_one_of(rng, (1.07, 1.15, 1.17, 1.18)), "octagon", 0.0, float(rng.uniform(0.14, 0.22)), box)


def _contents(rng: np.random.Generator, batch: str, upper: bool, view: Viewport) -> dict[str, Any]:
    """Findings and instruments, by the names of the fields of a scene."""
    if batch in (COLITIS, OESOPHAGITIS):
        return _inflammation(rng, batch, view)
    tools: tuple[Instrument, ...] = ()
    if batch == INSTRUMENTS or rng.random() < 0.08:
        tools = _instruments(rng, view, int(_pick(rng, {1: 90, 2: 9, 3: 1})) if batch == INSTRUMENTS else 1)
    fate = _pick(rng, {"polyp": 93, "removed": 7} if batch == POLYPS else {"polyp": 50, "removed": 20, "none": 30})
    if fate == "removed":
        x, y = _one_of(rng, free_positions(CENTRES, view, tools, 0.12))
        return {"instruments": tools, "resection": Resection(*_jittered(rng, x, y), 0.085, bool(rng.random() < 0.5))}
    polyps = _polyps(rng, view, tools) if fate == "polyp" else ()
    if not polyps and rng.random() < 0.15:
        name = "Pylorus" if upper else _one_of(rng, ("Cecum", "Ileum"))
        x, y = _one_of(rng, free_positions(CENTRES, view, tools, 0.12))
        mark = Landmark(name, *_jittered(rng, x, y), 0.15, _turn(rng), _pick(rng, _LANDMARK_COLOURS))
        return {"instruments": tools, "landmark": mark}
    return {"instruments": tools, "polyps": polyps}


def _inflammation(rng: np.random.Generator, batch: str, view: Viewport) -> dict[str, Any]:
    colitis = batch == COLITIS
    name = "Ulcerative colitis" if colitis else _pick(rng, {"Oesophagitis": 97, "Barretts": 3})
    colours = _pick(rng, _COLITIS_COLOURS if colitis else _OESOPHAGITIS_COLOURS)
    if name == "Barretts":
        colours = ("Orange",)
    cells = _pick(rng, {**_EXTENTS, CELLS: 60 if colitis else 75})
    landmark = None
    if colitis and rng.random() < 0.12:
        x, y = _one_of(rng, free_positions(CENTRES, view, (), 0.12))
        landmark = Landmark("Cecum", *_jittered(rng, x, y), 0.15, _turn(rng), _pick(rng, _LANDMARK_COLOURS))
    elif not colitis and rng.random() < 0.9:
        x, y, radius = _pick(rng, _RINGS)
        landmark = Landmark("Z-line", *_jittered(rng, x, y), radius, _turn(rng), _pick(rng, _LANDMARK_COLOURS))
    polyps = _polyps(rng, view, ()) if rng.random() < 0.015 else ()
    tools = _instruments(rng, view, 1) if rng.random() < 0.015 else ()
    return {
        "diffuse": Diffuse(name, cells, colours),
        "landmark": landmark,
        "polyps": polyps[:1],
        "instruments": tools,
    }


def _turn(rng: np.random.Generator) -> float:
    return float(rng.uniform(0, 2 * math.pi))


def _polyps(rng: np.random.Generator, view: Viewport, tools: Sequence[Instrument]) -> tuple[Polyp, ...]:
    number = _pick(rng, {1: 88, 2: 7, 3: 3, 4: 2})
    colours = _pick(rng, _POLYP_COLOURS)
    low, high = _pick(rng, _RADII) if number == 1 else (0.046, 0.058) if number > 2 else (0.074, 0.098)
    kind = _pick(rng, {"is": 45, "iia": 33} if low < 0.07 else {"is": 43, "iia": 33, "ip": 24})
    polyps: list[Polyp] = []
    for _ in range(number):
        radius = float(rng.uniform(low, high))
        positions = (*CENTRES, *BORDERS) if radius < 0.11 else (*BORDERS, *CORNERS)
        free = free_positions(positions, view, tools, radius, [(polyp.x, polyp.y) for polyp in polyps])
        if not free:
            break
        x, y = _jittered(rng, *_one_of(rng, free))
        # A stalk points down, more or less.
        angle = float(rng.uniform(0.25, 0.75) * math.pi) if kind == "ip" else _turn(rng)
        polyps.append(Polyp(x, y, radius, kind, angle, colours))
    return tuple(polyps)


def _instruments(rng: np.random.Generator, view: Viewport, number: int) -> tuple[Instrument, ...]:
    tools: list[Instrument] = []
    for _ in range(number):
        name = _pick(rng, _TOOLS)
        if name == "Metal clip":
            x, y = _jittered(rng, *_one_of(rng, free_positions(CENTRES, view, tools, 0.08)))
            turn = _turn(rng)
            tools.append(Instrument(name, x + 0.09 * math.cos(turn) / view.aspect, y + 0.09 * math.sin(turn), x, y))
            continue
        paths = {path: weight for path, weight in _PATHS.items() if path[:2] not in {(t.x0, t.y0) for t in tools}}
        x0, y0, x1, y1 = _pick(rng, paths)
        tools.append(Instrument(name, x0, y0, *_jittered(rng, x1, y1)))
    return tuple(tools)
