"""A data set of a few noisy pictures, right in every respect, for tests to spoil."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imageclef_vqa.editions import QUESTIONS


def picture(seed: int, width: int = 96, height: int = 80) -> Image.Image:
    """Smooth noise: no two seeds look alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def record(image_id: str, **answers: list[str]) -> dict[str, Any]:
    """A record with all 18 questions; `q5=["Red"]` gives another answer than the first one known."""
    rows = [
        {
            "Question": question.text,
            "AnswerType": question.answer_type,
            "Answer": answers.get(f"q{question.id}", [question.known[0]]),
        }
        for question in QUESTIONS
    ]
    return {"ImageID": image_id, "Labels": rows}


def write_labels(folder: Path, records: Any) -> None:
    (folder / "gt.json").write_text(json.dumps(records), encoding="utf-8")


def write_dataset(folder: Path, count: int = 3) -> list[dict[str, Any]]:
    """`count` pictures `image0`, `image1`, … with their records, which are returned."""
    (folder / "images").mkdir(parents=True)
    records = []
    for number in range(count):
        picture(number).save(folder / "images" / f"image{number}.jpg", quality=95)
        records.append(record(f"image{number}", q5=[("Red", "Pink", "White")[number % 3]]))
    write_labels(folder, records)
    return records
