"""Answers before their file is complete: one file per batch of images, so that a stopped run loses one batch at most.

The first line of such a file is the SHA-256 of the second one, which has the answers. A damaged batch is answered
again.

Floating-point sums depend on what is computed together, so a resumed run has the same batches, on any number of
devices.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from imageclef_vqa.editions.records import GivenAnswers
from imageclef_vqa.errors import DamagedFileError, MedvqaError, MissingFileError
from imageclef_vqa.files import json_text, write_text
from imageclef_vqa.inference.ranked import Ranked
from imageclef_vqa.inputs import read_text

_KEY = "key"


def _possible(ranked: Ranked) -> Ranked:
    if not sum(probability for _, probability in ranked):
        raise ValueError("no answer is possible")
    return ranked


_Probability = Annotated[float, Field(ge=0, le=1.001, allow_inf_nan=False)]  # sums of rounded numbers may exceed 1
_BATCH: TypeAdapter[list[list[Ranked]]] = TypeAdapter(
    list[list[Annotated[tuple[tuple[GivenAnswers, _Probability], ...], AfterValidator(_possible)]]]
)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Journal:
    """Ranked answers [image][question], batch by batch, in `folder`.

    Answers that were written with another `key` (of model, images and options) are removed.
    """

    def __init__(self, folder: Path, key: str, batch: int, questions: Sequence[int]) -> None:
        """`questions` has the number of questions about each image."""
        self.folder, self.images, self.batch, self._questions = folder, len(questions), batch, list(questions)
        try:
            same = read_text(folder / _KEY) == key
        except (MissingFileError, DamagedFileError):
            same = False
        if not same:
            shutil.rmtree(folder, ignore_errors=True)
            write_text(folder / _KEY, key)

    @property
    def batches(self) -> int:
        return -(-self.images // self.batch)

    @property
    def kept(self) -> int:
        """The number of files of batches, for a display; they are not read."""
        return sum(self._path(number).exists() for number in range(self.batches))

    @property
    def missing(self) -> list[int]:
        """The numbers of the batches without a valid file."""
        return [number for number in range(self.batches) if self._answers(number) is None]

    def part(self, number: int) -> slice:
        """The images of batch `number`."""
        return slice(number * self.batch, min((number + 1) * self.batch, self.images))

    def length(self, number: int) -> int:
        """The number of images in batch `number`."""
        part = self.part(number)
        return part.stop - part.start

    def add(self, number: int, answers: list[list[Ranked]]) -> None:
        text = json_text(answers, indent=None)
        write_text(self._path(number), f"{_digest(text)}\n{text}")

    def read(self) -> Iterator[list[Ranked]]:
        """The answers to the questions about each image, in order.

        Raises:
            MedvqaError: a batch is missing or damaged.
        """
        for number in range(self.batches):
            if (answers := self._answers(number)) is None:
                raise MedvqaError(f"{self._path(number)} is damaged", remedy="the same command answers it again")
            yield from answers

    def _answers(self, number: int) -> list[list[Ranked]] | None:
        """The answers of a batch; None if they are missing or damaged."""
        try:
            digest, _, text = read_text(self._path(number)).partition("\n")
            answers = _BATCH.validate_json(text)
        except (MissingFileError, DamagedFileError, ValidationError):
            return None
        fits = [len(of_image) for of_image in answers] == self._questions[self.part(number)]
        return answers if fits and digest == _digest(text) else None

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.json"
