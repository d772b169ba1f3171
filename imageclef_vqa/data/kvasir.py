"""Import of Kvasir-VQA (Gautam et al. 2024): its CSV and images become a `gt.json` and `images/`.

The CSV has one row per image and question: `source,question,answer,img_id`. Questions and answers are those of 2023 in
the spelling of later editions; they are translated back.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from imageclef_vqa.data.labels import Oddities
from imageclef_vqa.data.reading import images_by_id
from imageclef_vqa.data.writing import link_image
from imageclef_vqa.editions import GI_2025, QUESTIONS, Edition, Question, as_set, gt_record
from imageclef_vqa.editions.records import ImageId
from imageclef_vqa.errors import DataError, FileError, shortened
from imageclef_vqa.files import new_folder, write_json
from imageclef_vqa.inputs import open_text
from imageclef_vqa.progress import track

_COLUMNS = ("source", "question", "answer", "img_id")
_REMEDY = "give a CSV with source,question,answer,img_id and a folder with <img_id>.jpg, as in Kvasir-VQA"


@dataclass(frozen=True)
class Imported:
    """Answers by image and question in the spelling of 2023, the file of each image, and oddities of the CSV."""

    answers: dict[str, dict[int, tuple[str, ...]]]
    images: dict[str, Path]
    oddities: Oddities


def read_kvasir(table: Path, images: Path, edition: Edition = GI_2025) -> Imported:
    """Read `table`, a CSV in the layout of Kvasir-VQA, whose images are in `images`.

    Raises:
        DataError: all problems of the table, each with its row, and missing images.
    """
    imported = Imported({}, {}, Oddities())
    problems: list[str] = []
    check, files = TypeAdapter(ImageId), images_by_id(images)
    for where, row in _rows(table, problems):
        image_id = row["img_id"]
        if image_id not in imported.images:
            try:
                check.validate_python(image_id)
            except ValidationError:
                problems.append(f"{where}: img_id is {image_id[:80]!r}; an id is a file name, not a path")
                continue
            path = files.get(image_id)
            if path is None:
                problems.append(f"{where}: {images / image_id}.jpg: there is no such file")
                continue
            imported.images[image_id], imported.answers[image_id] = path, {}
        question = edition.find(row["question"])
        if question is None:
            imported.oddities.add(
                f"question that is not in the edition of 2023, ignored: {row['question'][:80]!r}", image_id
            )
            continue
        _add(imported, image_id, question, row["answer"], edition)
    if not problems and not any(imported.answers.values()):
        problems.append(f"{table}: no row answers any of the {len(QUESTIONS)} questions of the task")
    if problems:
        raise DataError(shortened(problems), remedy=_REMEDY)
    return imported


def write_dataset(imported: Imported, folder: Path) -> None:
    """Write a data set in the organisers' layout to `folder`, completely or not at all.

    Images are hard links where the file system allows it, and copies elsewhere.

    Raises:
        MedvqaError: `folder` exists and is not empty, or cannot be written.
    """
    with new_folder(folder, "choose a new folder: --out FOLDER") as part:
        (part / "images").mkdir()
        for image_id, source in track(imported.images.items(), "linking images", len(imported.images)):
            link_image(source, part / "images" / f"{image_id}{source.suffix}")
        records = [gt_record(image_id, dict(sorted(given.items()))) for image_id, given in imported.answers.items()]
        write_json(part / "gt.json", records, indent=None)


def _rows(table: Path, problems: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row with a text that locates it; unusable rows are added to `problems`."""
    try:
        with open_text(table, newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if missing := [column for column in _COLUMNS if column not in (reader.fieldnames or ())]:
                problems.append(f"{table}, row 1: column {', '.join(missing)} is missing")
                return
            for number, row in enumerate(reader, start=2):
                if None in row or None in row.values():
                    problems.append(f"{table}, row {number}: not {len(reader.fieldnames or ())} columns")
                    continue
                yield f"{table}, row {number}", row
    except FileError as error:
        problems.append(error.what)
    except csv.Error as error:
        problems.append(f"{table}: cannot be read ({error})")


def _add(imported: Imported, image_id: str, question: Question, text: str, edition: Edition) -> None:
    given = edition.read(question.id, (part.strip() for part in text.split(";") if part.strip()))
    answers = imported.answers[image_id]
    if not given:
        imported.oddities.add(f"empty answer to question {question.id}, ignored", image_id)
    elif question.id in answers:
        same = as_set(answers[question.id]) == as_set(given)
        kind = "repeated row" if same else f"second, different answer to question {question.id}, ignored"
        imported.oddities.add(kind, image_id)
    else:
        answers[question.id] = given
