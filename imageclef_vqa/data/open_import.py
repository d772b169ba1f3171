"""Import of open questions: published tables and their pictures become a `qa.jsonl` and `images/`.

Rows pass one at a time, so that 160,000 of them with their pictures need little memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from imageclef_vqa.data.images import ImageError, open_image
from imageclef_vqa.data.labels import Oddities
from imageclef_vqa.data.qa import QA_FILE, row_faults
from imageclef_vqa.data.reading import images_by_id
from imageclef_vqa.data.tables import TableRow, conversation, read_table
from imageclef_vqa.data.writing import link_image
from imageclef_vqa.editions.open_questions import QARow
from imageclef_vqa.errors import DataError, shortened
from imageclef_vqa.files import new_folder

_REMEDY = (
    "give Kvasir-VQA-x1 as JSON lines, CSV or Parquet with img_id, question, answer, or ms-swift's files, "
    "and the folder of its <img_id>.jpg with --images"
)
_EXTENSIONS = {"JPEG": ".jpg", "PNG": ".png"}
_COLUMNS = ("img_id", "complexity", "question", "answer", "original", "question_class")


@dataclass
class ImportedRows:
    """What an import wrote: rows, the file of each image, and oddities."""

    rows: int = 0
    images: dict[str, Path] = field(default_factory=dict)
    oddities: Oddities = field(default_factory=Oddities)


def import_rows(files: Sequence[Path], images: Path | None, folder: Path, *, labelled: bool) -> ImportedRows:
    """Write the rows of `files` as a data set to `folder`, completely or not at all; `labelled` requires answers.

    Pictures come from the folder `images` or, without it, from the tables or the paths that these name.

    Raises:
        DataError: all problems of rows and pictures together, each with its place.
        MedvqaError: `folder` exists and is not empty, or cannot be written.
    """
    with (
        new_folder(folder, "choose a new folder: --out FOLDER") as part,
        (part / QA_FILE).open("w", encoding="utf-8", newline="\n") as out,
    ):
        (part / "images").mkdir()
        importer = _Importer(part, out, images, labelled)
        for file in files:
            for row in read_table(file, pictures=images is None):
                importer.add(row, file.parent)
        if not importer.problems and not importer.done.rows:
            importer.problems.append(f"{', '.join(map(str, files))}: no row there")
        if importer.problems:
            raise DataError(shortened(importer.problems), remedy=_REMEDY)
    done = importer.done
    done.images = {image_id: folder / "images" / file.name for image_id, file in done.images.items()}
    return done


@dataclass
class _Importer:
    part: Path
    out: IO[str]
    images: Path | None
    labelled: bool
    done: ImportedRows = field(default_factory=ImportedRows)
    problems: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)  # images that were reported
    seen: set[int] = field(default_factory=set)  # hashes of rows

    def add(self, given: TableRow, beside: Path) -> None:
        """Check a row and write it, and its picture if it is the first one of it."""
        if given.content is None:
            self.problems.append(f"{given.where}: {given.fault}")
            return
        try:
            content = conversation(given.content)
            row = QARow.model_validate(content)
        except ValidationError as error:
            self.problems.extend(f"{given.where}: {fault}" for fault in row_faults(error))
            return
        except ValueError as error:
            self.problems.append(f"{given.where}: {error}")
            return
        if self.labelled and row.answer is None:
            self.problems.append(f"{given.where}: answer is missing")
        if row.img_id not in self.done.images and row.img_id not in self.missing:
            self._add_picture(row.img_id, content, given.where, beside)
        if not self.problems:
            kept = {name: content[name] for name in _COLUMNS if content.get(name) is not None}
            self.out.write(json.dumps(kept, ensure_ascii=False, default=str) + "\n")
        key = hash((row.img_id, row.question, row.answer))
        if key in self.seen:
            self.done.oddities.add("repeated row", row.img_id)
        self.seen.add(key)
        self.done.rows += 1

    @cached_property
    def _files(self) -> dict[str, Path]:
        return {} if self.images is None else images_by_id(self.images)

    def _add_picture(self, image_id: str, content: Mapping[str, Any], where: str, beside: Path) -> None:
        picture, target = content.get("image"), self.part / "images"
        try:
            if self.images is not None:
                source = self._files.get(image_id)
                if source is None:
                    raise ImageError(f"{self.images / image_id}.jpg: there is no such file")
            elif isinstance(picture, Mapping) and isinstance(picture.get("bytes"), bytes):
                kind = open_image(picture["bytes"]).format or ""
                file = target / f"{image_id}{_EXTENSIONS[kind]}"
                file.write_bytes(picture["bytes"])
                self.done.images[image_id] = file
                return
            elif isinstance(path := content.get("image_path"), str):
                source = beside / path
                if not source.is_file():
                    raise ImageError(f"{source}: there is no such file")
            else:
                raise ImageError("no picture in the row: name the folder of the pictures with --images")
        except ImageError as error:
            self.missing.add(image_id)
            self.problems.append(f"{where} ({image_id}): {error}")
            return
        self.done.images[image_id] = target / f"{image_id}{source.suffix}"
        link_image(source, self.done.images[image_id])
