"""Pictures of a data set that is written: links where the disk allows them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def link_image(source: Path, target: Path) -> None:
    """Make `target` a hard link to an image where the file system allows it, and a copy elsewhere."""
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or a file system without hard links
        shutil.copyfile(source, target)
