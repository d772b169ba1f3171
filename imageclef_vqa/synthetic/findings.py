"""Findings on the mucosa: landmarks, inflammation, polyps, and the sites of removed polyps."""

from __future__ import annotations

import numpy as np

from imageclef_vqa.synthetic.geometry import (
    Field,
    extent,
    landmark_reach,
    offsets,
    polyp_axes,
    stalk_axes,
)
from imageclef_vqa.synthetic.mucosa import Noise, blend, smoothstep
from imageclef_vqa.synthetic.scene import Colour, Scene
from imageclef_vqa.synthetic.shapes import Diffuse, Landmark, Polyp, Resection

COLOURS: dict[str, Colour] = {
    "Pink": (0.93, 0.60, 0.58),
    "Red": (0.74, 0.13, 0.12),
    "White": (0.96, 0.93, 0.88),
    "Yellow": (0.93, 0.76, 0.26),
    "Orange": (0.90, 0.50, 0.26),
    "Purple": (0.46, 0.20, 0.46),
    "Brown": (0.42, 0.24, 0.13),
    "Grey": (0.55, 0.55, 0.56),
    "brown": (0.42, 0.24, 0.13),
    "grey": (0.55, 0.55, 0.56),
}


def planes(colour: str) -> Field:
    """A colour as [3, 1, 1]."""
    return np.asarray(COLOURS[colour], np.float32)[:, None, None]


def mottled(colours: tuple[str, ...], noise: Field) -> Field:
    """Colours [3, h, w] in patches of about equal area, in the order of the noise [h, w]."""
    result = np.empty((3, *noise.shape), np.float32)
    result[:] = planes(colours[0])
    if len(colours) > 1:
        borders = np.quantile(noise[::2, ::2], np.arange(1, len(colours)) / len(colours))
        for border, colour in zip(borders.tolist(), colours[1:], strict=True):
            blend(result, smoothstep(border - 0.2, border + 0.2, noise), COLOURS[colour])
    return result


def paint_landmark(image: Field, landmark: Landmark, noise: Noise) -> Field:
    """Paint the surface of a landmark; returns the distance of each pixel from its centre, 1 on the edge."""
    reach = landmark_reach(landmark, *offsets(landmark.x, landmark.y, noise.shape))
    shade = np.minimum(1.12 * image[0], 1)
    skin = mottled(landmark.colours, noise.field("landmark", 6)) * shade
    blend(image, 0.82 * smoothstep(1.03, 0.97, reach), skin)
    return reach


def paint_landmark_relief(image: Field, landmark: Landmark, reach: Field, noise: Noise) -> None:
    """Paint the edge, folds, hole or villi of a landmark, which also show on inflamed mucosa."""

    def ring(radius: float, width: float) -> Field:
        return np.exp(-(((reach - radius) / width) ** 2))

    if landmark.name == "Z-line":
        blend(image, 0.6 * ring(1.0, 0.05), (0.97, 0.88, 0.84))
    elif landmark.name == "Cecum":
        blend(image, 0.55 * ring(0.62, 0.07), (0.50, 0.18, 0.14))
        blend(image, 0.9 * smoothstep(0.30, 0.22, reach), (0.10, 0.03, 0.02))
        blend(image, 0.4 * ring(1.0, 0.05), (1.0, 0.85, 0.78))
    elif landmark.name == "Pylorus":
        blend(image, 0.95 * smoothstep(0.52, 0.42, reach), (0.05, 0.015, 0.01))
        blend(image, 0.6 * ring(0.66, 0.12), (1.0, 0.82, 0.76))
        blend(image, 0.5 * ring(1.0, 0.05), (0.50, 0.18, 0.15))
    elif landmark.name == "Ileum":
        villi = smoothstep(0.2, 1.0, noise.field("villi", 56)) * smoothstep(1.03, 0.97, reach)
        blend(image, 0.5 * villi, (1.0, 0.92, 0.80))
        blend(image, 0.6 * ring(1.0, 0.05), (0.60, 0.22, 0.18))


def paint_diffuse(image: Field, diffuse: Diffuse, scene: Scene, noise: Noise, spared: Field | float) -> None:
    """Paint inflamed mucosa, red with patches of exudate or clots, or salmon-coloured metaplasia.

    Where `spared` is 1, it is half transparent, so that the colours of a landmark stay visible.
    """
    rough = extent(diffuse, scene.camera, noise.shape) + 0.06 * noise.field("edge", 9)
    inside = smoothstep(0.38, 0.62, rough) * (1 - 0.55 * spared)
    shade = np.minimum(1.1 * image[0], 1)
    strength = scene.contrast
    fine = noise.field("granular", 40)
    blend(image, 0.4 * strength * inside, planes("Pink") * shade)
    if "Red" in diffuse.colours:
        if diffuse.name == "Oesophagitis":
            across, down = offsets(*scene.lumen, noise.shape)
            turn = np.arctan2(down, across)
            flush = 0.7 * noise.field("red", 7) + 0.8 * np.sin(7 * turn + 1.5 * noise.field("streaks", 3))
        else:
            flush = 0.9 * noise.field("red", 6)
        flush = smoothstep(-0.8, 0.9, flush + 0.35 * fine)
        blend(image, 0.85 * strength * inside * flush, planes("Red") * (shade + 0.12 * fine * shade))
    for colour in diffuse.colours:
        if colour not in ("Pink", "Red"):
            spots = noise.field(colour, 11) + 0.3 * fine
            often = -1.0 if diffuse.name == "Barretts" else 0.7
            cover = inside * smoothstep(often, often + 0.6, spots)
            blend(image, 0.9 * (0.3 + 0.7 * strength) * cover, planes(colour) * (0.08 + 0.92 * shade))


def paint_polyp(image: Field, polyp: Polyp, contrast: float, noise: Noise) -> None:
    """Paint a polyp, lit from the upper left; only pixels near it change."""
    _, height, width = image.shape
    reach = polyp.radius * (2.6 if polyp.kind == "ip" else 1.9)
    x, y = polyp.x * width, polyp.y * height
    rows = slice(max(0, int(y - reach * height)), int(y + reach * height) + 1)
    columns = slice(max(0, int(x - reach * height)), int(x + reach * height) + 1)
    across, down = offsets(polyp.x, polyp.y, (height, width))
    across, down = across[:, columns], down[rows]
    near = image[:, rows, columns]
    grain, fine = noise.field("mottling", 12)[rows, columns], noise.field("pits", 60)[rows, columns]
    soft = 1.5 / (polyp.radius * height)

    u, v = polyp_axes(polyp, across, down)
    # Polyps are not perfectly round.
    rho = np.sqrt(u * u + v * v) * (1 + 0.035 * grain)
    drop = polyp_axes(polyp, across - 0.22 * polyp.radius, down - 0.28 * polyp.radius)
    blend(near, 0.55 * contrast * smoothstep(1.35, 0.75, np.hypot(*drop)), (0.22, 0.05, 0.04))
    if polyp.kind == "ip":
        along, side = stalk_axes(polyp, across, down)
        stalk = (
            smoothstep(1 + soft, 1 - soft, np.abs(side)) * smoothstep(0, 0.05, along) * smoothstep(1.02, 0.94, along)
        )
        rod = np.sqrt(np.clip(1 - side * side, 0.05, 1)) * planes("Pink")
        blend(near, (0.35 + 0.6 * contrast) * stalk, 0.95 * rod)

    head = smoothstep(1 + soft, 1 - soft, rho)
    if polyp.kind == "iia":
        rise, lit = smoothstep(0.7, 1.0, rho), 0.88 + 0.05 * grain + 0.04 * fine
    else:
        rise, lit = rho, 0.42 + 0.62 * np.sqrt(np.clip(1 - rho * rho, 0, 1))
    lit = lit - 0.22 * rise * (0.6 * u + 0.75 * v) / np.maximum(rho, 1e-3)
    skin = mottled(polyp.colours, 0.8 * grain + 0.5 * (u - v)) * np.clip(lit + 0.03 * fine, 0.25, 1.12)
    blend(near, (0.35 + 0.62 * contrast) * head, skin)
    if polyp.kind == "iia":
        blend(near, 0.3 * contrast * np.exp(-(((rho - 0.9) / 0.12) ** 2)), (1.0, 0.88, 0.82))
    else:
        glint = np.exp(-((u + 0.34) ** 2 + (v + 0.40) ** 2) / 0.018)
        blend(near, 0.85 * contrast * glint, (1.0, 0.98, 0.95))


def paint_resection(image: Field, site: Resection, noise: Noise) -> None:
    """Paint a raw red crater with a white coagulated rim; a dyed one is on a blue cushion."""
    across, down = offsets(site.x, site.y, noise.shape)
    ragged = 1 + 0.10 * noise.field("site", 14) + 0.05 * noise.field("coagulum", 40)
    reach = np.hypot(across, down) / site.radius * ragged
    if site.dyed:
        blend(image, 0.75 * smoothstep(2.1, 1.5, reach), (0.16, 0.36, 0.66))
    blend(image, 0.95 * smoothstep(1.3, 1.05, reach), (0.93, 0.86, 0.74))
    blend(image, 0.95 * smoothstep(1.0, 0.75, reach), (0.55, 0.07, 0.07))
    blend(image, 0.6 * smoothstep(0.6, 0.2, reach), (0.33, 0.03, 0.03))
