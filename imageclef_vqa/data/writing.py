"""Writing a data set as a new folder, completely or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.files import folder_beside


@contextmanager
def new_dataset(folder: Path) -> Iterator[Path]:
    """An empty folder with `images/`, which becomes `folder` if the block ends well.

    Raises:
        MedvqaError: `folder` exists and is not empty, or cannot be written.
    """
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise MedvqaError(f"{folder} already exists", remedy="choose a new folder: --out FOLDER")
    try:
        with folder_beside(folder) as part:
            (part / "images").mkdir()
            yield part
            part.chmod(0o755)
            os.replace(part, folder)
    except OSError as error:
        raise MedvqaError(
            f"cannot write {folder}: {error.strerror or error}", remedy="choose another: --out FOLDER"
        ) from error


def link_image(source: Path, target: Path) -> None:
    """Make `target` a hard link to an image where the file system allows it, and a copy elsewhere."""
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or a file system without hard links
        shutil.copyfile(source, target)
