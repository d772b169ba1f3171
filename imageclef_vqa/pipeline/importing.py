"""`medvqa import`: another data set in the files of this task, and the images that it shares with the workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imageclef_vqa.data.kvasir import read_kvasir, write_dataset
from imageclef_vqa.data.open_import import import_rows
from imageclef_vqa.data.tables import table_files
from imageclef_vqa.errors import DataError
from imageclef_vqa.files import write_json
from imageclef_vqa.pipeline.overlap import Shared, other_sets, shared_with
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class ImportedDataset:
    """The folder that was written, what is in it, and `overlaps`: data set of the workspace → image of the folder →
    the image there that shows the same, with its similarity."""

    folder: Path
    images: int
    answers: int
    oddities: list[str]
    overlaps: dict[str, Shared]


def import_kvasir(
    table: str | Path, images: str | Path, out: str | Path | None = None, workspace: str | Path = "."
) -> ImportedDataset:
    """Write Kvasir-VQA as a data set of this task to `out`, by default the development set or a folder beside it.

    Raises:
        DataError: the table or the images cannot be used.
    """
    at = Workspace.at(Path(workspace))
    target = at.root / "data/kvasir-vqa" if at.development.exists() else at.development
    if out is not None:
        target = Path(out)
    imported = read_kvasir(Path(table), _picture_folder(images))
    write_dataset(imported, target)
    overlaps = _overlaps(at, target, imported.images)
    write_json(target / "overlap.json", overlaps)
    answers = sum(map(len, imported.answers.values()))
    return ImportedDataset(target, len(imported.images), answers, imported.oddities.lines(), overlaps)


def import_open(
    files: Sequence[str | Path],
    images: str | Path | None = None,
    *,
    to: Literal["development", "test"] = "development",
    out: str | Path | None = None,
    workspace: str | Path = ".",
) -> ImportedDataset:
    """Write the rows of Kvasir-VQA-x1, or of ms-swift's files, as a data set of open questions.

    Args:
        files: tables, or folders of them as the hub's client leaves them.
        images: the folder with the pictures; without it, those in the tables, or beside them, are used.
        to: which data set of the workspace is written; rows of the test set may lack answers.
        out: another folder to write.

    Raises:
        UsageError: a file is no table.
        DataError: all problems of rows and pictures.
    """
    at = Workspace.at(Path(workspace))
    target = (at.development if to == "development" else at.test) if out is None else Path(out)
    tables = table_files([Path(each) for each in files], to)
    pictures = None if images is None else _picture_folder(images)
    done = import_rows(tables, pictures, target, labelled=to == "development")
    overlaps = _overlaps(at, target, done.images)
    write_json(target / "overlap.json", overlaps)
    return ImportedDataset(target, len(done.images), done.rows, done.oddities.lines(), overlaps)


def _picture_folder(images: str | Path) -> Path:
    if not Path(images).is_dir():
        raise DataError([f"{images}: there is no such folder"], remedy="name the folder with the files <img_id>.jpg")
    return Path(images)


def _overlaps(workspace: Workspace, target: Path, images: dict[str, Path]) -> dict[str, Shared]:
    sets = [folder for folder in (workspace.development, workspace.test) if (folder / "images").is_dir()]
    return {
        workspace.shown(folder): shared_with(workspace, images, folder)
        for folder in (*sets, *other_sets(workspace))
        if folder != target
    }
