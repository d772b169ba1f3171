"""A small correct data set of open questions about noise images, which tests then damage."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from small_dataset import picture

COLOURS = ("red", "pink", "white")


def rows(images: int = 3, first: int = 0) -> list[dict[str, Any]]:
    """Three rows for each image, in the columns of Kvasir-VQA-x1; the second and third image share a sentence."""
    made = []
    for number in range(first, first + images):
        polyps = "There is 1 polyp." if number % 3 == 0 else "There are no polyps."
        asked = {
            "How many polyps are in the image?": (polyps, "polyp_count"),
            "Which color does the abnormality have?": (
                f"The abnormality is {COLOURS[number % 3]} and located in the upper-left.",
                "abnormality_color",
            ),
            "Is there text?": ("Yes", "text_presence"),
        }
        for at, (question, (answer, about)) in enumerate(asked.items()):
            row = {"img_id": f"image{number}", "complexity": 1 + (at == 1), "question": question, "answer": answer}
            made.append(row | {"original": [{"q": question, "a": ""}], "question_class": [about]})
    return made


def write_rows(folder: Path, content: Iterable[Mapping[str, Any]]) -> None:
    (folder / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")


def write_open_dataset(folder: Path, images: int = 3, first: int = 0) -> list[dict[str, Any]]:
    """Write `images` images `image0`, `image1`, … with their rows, and return these."""
    (folder / "images").mkdir(parents=True)
    for number in range(first, first + images):
        picture(number).save(folder / "images" / f"image{number}.jpg", quality=95)
    made = rows(images, first)
    write_rows(folder, made)
    return made
