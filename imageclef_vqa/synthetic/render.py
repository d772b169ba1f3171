"""Rendering a scene as an image."""

from __future__ import annotations

import numpy as np
from PIL import Image

from imageclef_vqa.synthetic import findings, overlay
from imageclef_vqa.synthetic.geometry import view_image
from imageclef_vqa.synthetic.instruments import draw_instruments
from imageclef_vqa.synthetic.mucosa import Noise, add_highlights, paint_wall, smoothstep
from imageclef_vqa.synthetic.scene import Scene


def render_scene(scene: Scene, size: int = 256) -> Image.Image:
    """The RGB image of `scene`, `size` pixels high. The same scene gives the same pixels."""
    shape = size, round(size * scene.view.aspect)
    noise = Noise(scene.texture, scene.camera, shape)
    seen = scene.seen
    wall = paint_wall(seen, noise)
    reach = findings.paint_landmark(wall, seen.landmark, noise) if seen.landmark else None
    if seen.diffuse:
        spared = 0.0 if reach is None else smoothstep(1.03, 0.97, reach)
        findings.paint_diffuse(wall, seen.diffuse, seen, noise, spared)
    if seen.landmark and reach is not None:
        findings.paint_landmark_relief(wall, seen.landmark, reach, noise)
    if seen.resection:
        findings.paint_resection(wall, seen.resection, noise)
    add_highlights(wall, noise)
    for polyp in seen.polyps:
        findings.paint_polyp(wall, polyp, seen.contrast, noise)
    image = Image.fromarray(np.ascontiguousarray((np.clip(wall, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)))
    if seen.instruments:
        draw_instruments(image, seen.instruments)
    frame = Image.new("RGB", image.size, (6, 6, 7))
    frame.paste(image, None, view_image(seen.view, shape))
    if seen.view.box:
        overlay.draw_box(frame, seen.view.box)
    if seen.text:
        overlay.draw_text(frame, seen)
    return frame
