"""Writing a synthetic set in the official layout, completely or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imageclef_vqa.editions import QUESTIONS, GtRecord, gt_record, question_that
from imageclef_vqa.files import new_folder
from imageclef_vqa.progress import track
from imageclef_vqa.synthetic.quirks import add_quirks
from imageclef_vqa.synthetic.render import render_scene
from imageclef_vqa.synthetic.sampling import sample_scene
from imageclef_vqa.synthetic.scene import BATCHES, POLYPS, Scene
from imageclef_vqa.synthetic.sentences import sentence_rows

_LETTERS = np.array(list("0123456789abcdefghijklmnopqrstuvwxyz"))
_FRAMES = (1, 2, 3, 4)
_JPEG_QUALITY = 88
# Most images of the real set were scaled down; a few examinations have the resolution of the processor. Heights in
# pixels, the rare ones by the number of the examination modulo _PERIOD.
_HEIGHT, _RARE_HEIGHTS, _PERIOD = 256, {5: 576, 11: 1024}, 36


@dataclass(frozen=True)
class _Frame:
    image_id: str
    scene: Scene
    height: int

    def record(self) -> GtRecord:
        """The entry of the image in `gt.json`; its questions are sorted by text, as in the official file."""
        answers = self.scene.answers()
        return gt_record(self.image_id, {q.id: answers[q.id] for q in sorted(QUESTIONS, key=lambda q: q.text)})


def write_synthetic_dataset(folder: Path, *, images: int, test: int, seed: int, sentences: bool = False) -> None:
    """Write `images` development and `test` test images to `folder`; the same arguments give the same bytes.

    Writes ``development/{gt.json,images/}`` and ``test/{gt.json,test_image_ids.txt,images/}``, or, with `sentences`, a
    ``qa.jsonl`` of open questions in each. No examination has frames in both sets. Only a development set of closed
    questions has the oddities of the real labels.

    Raises:
        MedvqaError: `folder` is not empty, or cannot be written; it is then unchanged.
    """
    with new_folder(folder, "choose an empty or a new folder for the synthetic set") as part:
        rng = np.random.default_rng(seed)
        if sentences:
            for name, number in (("development", images), ("test", test)):
                _write_rows(part / name, _write_images(part / name / "images", number, rng), rng)
        else:
            _write_closed(part, images, test, rng)


def _write_rows(folder: Path, frames: list[_Frame], rng: np.random.Generator) -> None:
    rows = [row for frame in frames for row in sentence_rows(frame.image_id, frame.scene, rng)]
    (folder / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write_closed(folder: Path, images: int, test: int, rng: np.random.Generator) -> None:
    development, held_out = folder / "development", folder / "test"
    records = [frame.record() for frame in _write_images(development / "images", images, rng)]
    add_quirks(records, development / "images", rng)
    _write_json(development / "gt.json", records)
    frames = _write_images(held_out / "images", test, rng)
    _write_json(held_out / "gt.json", [frame.record() for frame in frames])
    ids = "".join(f"{frame.image_id}\n" for frame in frames)
    (held_out / "test_image_ids.txt").write_text(ids, encoding="utf-8")


def _write_images(folder: Path, number: int, rng: np.random.Generator) -> list[_Frame]:
    """Draw frames and write their pictures; returns the frames by id."""
    folder.mkdir(parents=True)
    frames = []
    for frame in track(_frames(number, rng), f"rendering {folder.parent.name}", total=number):
        image = render_scene(frame.scene, frame.height)
        image.save(folder / f"{frame.image_id}.jpg", quality=_JPEG_QUALITY)
        frames.append(frame)
    return sorted(frames, key=lambda frame: frame.image_id)


def _frames(number: int, rng: np.random.Generator) -> Iterator[_Frame]:
    """Frames of examinations, from each of the four batches in turn, with about equally many images per batch."""
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
        height = _RARE_HEIGHTS.get(examination % _PERIOD, _HEIGHT)
        for frame in range(frames):
            name = BATCHES[index] + "".join(_LETTERS[rng.integers(len(_LETTERS), size=20)])
            yield _Frame(name, scene.frame(rng) if frame else scene, height)
        examination += 1


def _in_purple(rng: np.random.Generator) -> Scene:
    """A scene with a purple polyp: the real labels spell this colour in two ways."""
    while True:
        scene = sample_scene(rng, POLYPS)
        if scene.answers()[question_that("colour", "abnormality").id] == ("Purple",):
            return scene


def _write_json(path: Path, content: list[GtRecord]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
