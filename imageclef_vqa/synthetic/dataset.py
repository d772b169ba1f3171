"""Writes a synthetic set in the official layout, whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imageclef_vqa.editions.questions import QUESTIONS
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.files import folder_beside
from imageclef_vqa.progress import track
from imageclef_vqa.synthetic.quirks import add_quirks
from imageclef_vqa.synthetic.render import render_scene
from imageclef_vqa.synthetic.sampling import sample_scene
from imageclef_vqa.synthetic.scene import BATCHES, POLYPS, Scene

Record = dict[str, Any]

_LETTERS = np.array(list("0123456789abcdefghijklmnopqrstuvwxyz"))
_FRAMES = (1, 2, 3, 4)
_JPEG_QUALITY = 88
_COLOUR = 5  # What color is the abnormality?
# Most pictures of the real set were scaled down; now and then an examination keeps the processor's resolution.
_HEIGHT, _RARE_HEIGHTS, _RARITY = 256, {5: 576, 11: 1024}, 36


@dataclass(frozen=True)
class _Picture:
    image_id: str
    scene: Scene
    height: int

    def record(self) -> Record:
        """The image's entry in `gt.json`, its questions in the file's alphabetical order."""
        answers = self.scene.answers()
        labels = [
            {"Question": question.text, "AnswerType": question.answer_type, "Answer": list(answers[question.id])}
            for question in sorted(QUESTIONS, key=lambda question: question.text)
        ]
        return {"ImageID": self.image_id, "Labels": labels}


def write_synthetic_dataset(folder: Path, *, images: int, test: int, seed: int) -> None:
    """Write `images` development and `test` test images to `folder`, the same bytes for the same arguments.

    ``development/{gt.json,images/}`` and ``test/{gt.json,test_image_ids.txt,images/}``. No examination has frames in
    both; the oddities of the real labels are in the development set alone.

    Raises:
        MedvqaError: `folder` holds files already, or cannot be written; nothing there was changed.
    """
    refused = MedvqaError(f"{folder} is not empty", remedy="name an empty or a new folder for the synthetic set")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise refused
        with folder_beside(folder) as part:
            _write(part / "data", images, test, np.random.default_rng(seed))
            os.replace(part / "data", folder)
    except OSError as error:
        raise MedvqaError(
            f"cannot write {folder}: {error.strerror or error}",
            remedy="choose a place that you may write to and that has room",
        ) from error


def _write(folder: Path, images: int, test: int, rng: np.random.Generator) -> None:
    development, held_out = folder / "development", folder / "test"
    records = _write_images(development / "images", images, rng)
    add_quirks(records, development / "images", rng)
    _write_json(development / "gt.json", records)
    records = _write_images(held_out / "images", test, rng)
    _write_json(held_out / "gt.json", records)
    ids = "".join(f"{record['ImageID']}\n" for record in records)
    (held_out / "test_image_ids.txt").write_text(ids, encoding="utf-8")


def _write_images(folder: Path, number: int, rng: np.random.Generator) -> list[Record]:
    folder.mkdir(parents=True)
    records = []
    for picture in track(_pictures(number, rng), f"rendering {folder.parent.name}", total=number):
        image = render_scene(picture.scene, picture.height)
        image.save(folder / f"{picture.image_id}.jpg", quality=_JPEG_QUALITY)
        records.append(picture.record())
    return sorted(records, key=lambda record: str(record["ImageID"]))


def _pictures(number: int, rng: np.random.Generator) -> Iterator[_Picture]:
    """Frames of examinations from the four batches in turn, each batch with about as many images."""
    left = [number // len(BATCHES) + (index < number % len(BATCHES)) for index in range(len(BATCHES))]
    examination = 0
    while any(left):
        index = examination % len(BATCHES)
        scene = sample_scene(rng, BATCHES[index])
        frames = int(rng.choice(_FRAMES))
        if examination == 0:
            scene, frames = _in_purple(rng), max(_FRAMES)
        frames = min(frames, left[index])
        left[index] -= frames
        height = _RARE_HEIGHTS.get(examination % _RARITY, _HEIGHT)
        for frame in range(frames):
            name = BATCHES[index] + "".join(_LETTERS[rng.integers(len(_LETTERS), size=20)])
            yield _Picture(name, scene.frame(rng) if frame else scene, height)
        examination += 1


def _in_purple(rng: np.random.Generator) -> Scene:
    """A polyp of the colour on whose spelling the real labels do not agree."""
    while True:
        scene = sample_scene(rng, POLYPS)
        if scene.answers()[_COLOUR] == ("Purple",):
            return scene


def _write_json(path: Path, content: list[Record]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
