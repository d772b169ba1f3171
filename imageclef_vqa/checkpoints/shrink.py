"""`medvqa weights shrink`: a folder of weights whose language model takes 8 bits a number."""

from __future__ import annotations

import shutil
from pathlib import Path

from imageclef_vqa.checkpoints.folder import CONFIG, read_folder_config
from imageclef_vqa.checkpoints.language import shrink_language
from imageclef_vqa.checkpoints.pretrained import LANGUAGE
from imageclef_vqa.errors import MedvqaError, UsageError


def shrink_folder(source: Path, target: Path) -> None:
    """Copy `source` to `target`, its language model in 8 bits.

    Raises:
        MedvqaError: `source` is no folder that `medvqa weights convert` made, or holds no language model.
        UsageError: the two are one folder.
    """
    config = read_folder_config(source) if source.is_dir() else None
    if config is None or config.language is None:
        raise MedvqaError(
            f"{source} holds no language model of ours", remedy="`medvqa weights convert` makes such a folder"
        )
    if target.resolve() == source.resolve():
        raise UsageError(f"{target}: name another folder than the source")
    shrink_language(config.language, source / LANGUAGE, target / LANGUAGE)
    others = [file for file in sorted(source.iterdir()) if file.is_file() and file.name not in (LANGUAGE, CONFIG)]
    for file in (*others, source / CONFIG):  # the one that makes it a folder of ours comes last
        shutil.copyfile(file, target / file.name)
