"""The mucosa: noise that moves with the camera, folds around the lumen, vessels, light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from imageclef_vqa.synthetic.geometry import Field, Shape, offsets
from imageclef_vqa.synthetic.scene import Colour, Scene
from imageclef_vqa.synthetic.shapes import Camera


@dataclass(frozen=True)
class Noise:
    """Smooth random fields of one scene. A field depends only on its name and the seed."""

    seed: int
    camera: Camera
    shape: Shape

    def field(self, name: str, cells: int) -> Field:
        """Noise [h, w] with a variance of about 1 and about `cells` bumps from top to bottom."""
        height, width = self.shape
        rows, columns = cells, round(cells * width / height)
        rng = np.random.default_rng((self.seed, *name.encode()))
        # A margin on all sides: the camera may look a little beyond the frame.
        margin = max(2, cells // 8)
        values = rng.standard_normal((rows + 2 * margin, columns + 2 * margin), dtype=np.float32)
        left, upper, right, lower = self.camera.window()
        box = (margin + left * columns, margin + upper * rows, margin + right * columns, margin + lower * rows)
        grid = Image.fromarray(values)
        return np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC, box=box))


def smoothstep(low: float, high: float, x: Field) -> Field:
    """0 below `low`, 1 above `high`, and smooth between them."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def blend(image: Field, cover: Field, colour: Field | Colour) -> None:
    """Paint `colour` (0 to 1) over an image [3, h, w] in place, with the opacity `cover` [h, w]."""
    paint = np.asarray(colour, np.float32)
    change = (paint if paint.ndim == 3 else paint[:, None, None]) - image
    change *= cover.astype(np.float32, copy=False)
    image += change


def _darkness(scene: Scene) -> tuple[float, float]:
    """Brightness of the lumen and its width; a landmark's colour stays visible."""
    if scene.landmark is None:
        return 0.06, 0.34
    if scene.landmark.name == "Z-line":
        return 0.06, min(0.34, 0.05 + 0.6 * scene.landmark.radius)
    return 0.75, 0.34


def paint_wall(scene: Scene, noise: Noise) -> Field:
    """The mucosa without findings, [3, h, w] from 0 to 1, as the camera shows it."""
    across, down = offsets(*scene.lumen, noise.shape)
    warp = noise.field("warp", 3)
    distance = np.sqrt(across * across + down * down) + 1e-3
    # The lumen is a rounded triangle in the colon, and a circle in the upper tract.
    three = (across * across - 3 * down * down) * across / distance**3
    colon = scene.procedure == "Colonoscopy"
    reach = distance * (1 + (0.16 if colon else 0.03) * three + (0.16 if colon else 0.08) * warp)
    if colon:
        phase = 1.9 * np.log(reach / 0.07) + 0.25 * warp + scene.texture % 7 / 7
        step = phase - np.floor(phase)
        relief = 0.72 + 0.36 * smoothstep(0.0, 0.12, step) * (1 - 0.75 * smoothstep(0.12, 1.0, step))
    else:
        fold = smoothstep(0.02, 0.2, reach) * smoothstep(0.6, 0.2, reach)
        relief = 0.9 + 0.09 * np.sin(4 * three + 2 * warp) * fold
    deep, wide = _darkness(scene)
    light = deep + (1 - deep) * smoothstep(0.02, wide, reach)
    bumps = noise.field("bumps", 10) + 0.4 * noise.field("grain", 48)
    slope = np.zeros_like(bumps)
    slope[:, 1:] = (bumps[:, 1:] - bumps[:, :-1]) * (noise.shape[0] / 256)
    shade = (
        scene.camera.light * light * relief * (1 + 0.06 * noise.field("light", 2) + (0.22 if colon else 0.12) * slope)
    )
    image = shade * np.asarray(scene.mucosa, np.float32)[:, None, None]
    hue = 0.03 * noise.field("hue", 4) * shade
    image[1] += hue
    image[2] += 0.6 * hue
    if colon:
        vessels = np.exp(-((noise.field("vessels", 7) / 0.07) ** 2))
        vessels += 0.7 * np.exp(-((noise.field("capillaries", 15) / 0.09) ** 2))
        blend(image, 0.22 * np.minimum(vessels, 1) * smoothstep(0.15, 0.4, reach), (0.55, 0.14, 0.12))
    return image


def add_highlights(image: Field, noise: Noise) -> None:
    """White spots where the wet mucosa reflects the light."""
    wet = noise.field("wet", 40) + 0.8 * noise.field("pools", 5) + 1.2 * (image[0] - 0.75)
    blend(image, 0.85 * smoothstep(2.5, 2.9, wet), (1.0, 0.98, 0.95))
