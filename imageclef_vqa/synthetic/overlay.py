"""Overlays of the video processor: the box that shows the position of the scope, and the text."""

from __future__ import annotations

from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from imageclef_vqa.synthetic.geometry import BOX_RIGHT, BOX_UPPER
from imageclef_vqa.synthetic.scene import Scene


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def text_of(scene: Scene) -> str:
    """The burnt-in lines, without any name."""
    taken = scene.taken
    return (
        f"ID:\nName:\n\nSex:    Age:\nD.O.B.:\n{taken:%d/%m/%Y}\n{taken:%H:%M:%S}",
        f"{taken:%d/%m/%Y}\n{taken:%H:%M:%S}\nCVP:{scene.texture % 7 + 1}\nD:N   A5",
        f"NAME\nID\n{taken:%d/%b/%Y}\n{taken:%H:%M:%S}",
    )[scene.style]


def draw_box(image: Image.Image, colour: str) -> None:
    """Draw a box in the lower left corner; a green one shows the curve of the scope."""
    width, height = image.size
    left, upper, right, lower = 0.02 * width, BOX_UPPER * height, BOX_RIGHT * width, 0.98 * height
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, upper, right, height), fill=(4, 4, 4))
    if colour == "green":
        draw.rectangle((left, upper, right, lower), fill=(20, 164, 134))
        pen = max(1, height // 110)
        draw.arc((0.55 * right, 0.78 * height, 0.85 * right, 1.05 * height), 180, 280, fill=(10, 60, 50), width=pen)
        draw.line([(0.2 * right, 0.93 * height), (0.3 * right, 0.90 * height)], fill=(235, 240, 240), width=pen)


def draw_text(image: Image.Image, scene: Scene) -> None:
    width, height = image.size
    corner = (0.025 * width, (0.06, 0.26, 0.05)[scene.style] * height)
    ImageDraw.Draw(image).multiline_text(
        corner, text_of(scene), fill=(245, 245, 245), font=_font(max(8, round(0.046 * height))), spacing=height // 128
    )
