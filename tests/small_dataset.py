"""A small correct data set of noise images, which tests then damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imageclef_vqa.editions import QUESTIONS, gt_record


def picture(seed: int, width: int = 96, height: int = 80) -> Image.Image:
    """Smooth noise; different seeds give different images."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def record(image_id: str, **answers: list[str]) -> dict[str, Any]:
    """A record with all questions. Answers are the first known ones; `q5=["Red"]` gives another answer."""
    return dict(gt_record(image_id, {q.id: answers.get(f"q{q.id}", [q.known[0]]) for q in QUESTIONS}))


def write_labels(folder: Path, records: Any) -> None:
    (folder / "gt.json").write_text(json.dumps(records), encoding="utf-8")


def write_dataset(folder: Path, count: int = 3) -> list[dict[str, Any]]:
    """Write `count` images `image0`, `image1`, … and return their records."""
    (folder / "images").mkdir(parents=True)
    records = []
    for number in range(count):
        picture(number).save(folder / "images" / f"image{number}.jpg", quality=95)
        records.append(record(f"image{number}", q5=[("Red", "Pink", "White")[number % 3]]))
    write_labels(folder, records)
    return records
