"""Test images that resemble each other or a development image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from imageclef_vqa.data.dataset import Dataset, Example
from imageclef_vqa.data.duplicates import group_images, hash_candidates, picture_links, picture_similarity, text_links
from imageclef_vqa.data.images import index_images
from imageclef_vqa.editions.records import ImageId
from imageclef_vqa.errors import DamagedFileError, MedvqaError, MissingFileError
from imageclef_vqa.files import write_text
from imageclef_vqa.inputs import read_model


class CrossSplitDuplicates(BaseModel):
    """Near-duplicates and frames of one examination, by the evidence of `duplicates`.

    Attributes:
        groups: test image → number of its group of test images.
        in_development: test image → the development images that resemble it; images without any are left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    groups: dict[ImageId, int]
    in_development: dict[ImageId, tuple[ImageId, ...]]


def cross_split_duplicates(test: Dataset, development: Dataset, cache: Path) -> CrossSplitDuplicates:
    """The duplicates of the images of `test`. The result is kept in `cache` until an image changes.

    Raises:
        MedvqaError: an image changed after the data set was read.
    """
    examples = [*test.examples, *development.examples]
    state = "\n".join(f"{example.image_id} {example.sha256}" for example in examples)
    path = cache / f"cross-split-{hashlib.sha256(f'{len(test)} {state}'.encode()).hexdigest()[:12]}.json"
    try:
        return read_model(path, CrossSplitDuplicates)
    except (MissingFileError, DamagedFileError):
        found = _compare(test.examples, development.examples, cache)
        write_text(path, found.model_dump_json() + "\n")
        return found


def _compare(test: Sequence[Example], development: Sequence[Example], cache: Path) -> CrossSplitDuplicates:
    parts = [index_images([example.image for example in part], cache) for part in (test, development)]
    if any(faults for _, faults in parts):
        raise MedvqaError("images changed while they were read", remedy="run the command again")
    rows, count = np.concatenate([rows for rows, _ in parts]), len(test)
    pairs = hash_candidates(rows, count)  # pairs of two development images are not needed
    links = picture_links(pairs, picture_similarity(rows, pairs)) + text_links(rows)
    ids = [example.image_id for example in (*test, *development)]
    groups = group_images([link for link in links if link.other < count], count)
    in_development: dict[str, set[str]] = {}
    for link in links:
        if link.one < count <= link.other:
            in_development.setdefault(ids[link.one], set()).add(ids[link.other])
    return CrossSplitDuplicates(
        groups=dict(zip(ids[:count], groups.tolist(), strict=True)),
        in_development={image_id: tuple(sorted(others)) for image_id, others in in_development.items()},
    )
