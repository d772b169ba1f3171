"""Which test images resemble each other, and which resemble development images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from threadpoolctl import threadpool_limits

from imageclef_vqa.data.dataset import Dataset, Example
from imageclef_vqa.data.duplicates import Link, hash_candidates, join, picture_links, picture_similarity, text_links
from imageclef_vqa.data.images import index_images
from imageclef_vqa.editions.records import ImageId
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.files import write_text


class CrossSplitDuplicates(BaseModel):
    """By the evidence of `duplicates`: `groups` of test images, and the development images that resemble one of them.

    `kin` holds test images that have any: the same picture, or a frame of the same examination.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    groups: dict[ImageId, int]
    kin: dict[ImageId, tuple[ImageId, ...]]


def cross_split_duplicates(test: Dataset, development: Dataset, cache: Path) -> CrossSplitDuplicates:
    """The kinship of the images of `test`; it is looked up once, and kept in `cache` while the images stay the same."""
    examples = [*test.examples, *development.examples]
    state = "\n".join(f"{example.image_id} {example.sha256}" for example in examples)
    path = cache / f"kinship-{hashlib.sha256(f'{len(test)} {state}'.encode()).hexdigest()[:12]}.json"
    try:
        return CrossSplitDuplicates.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        found = _kinship(test.examples, development.examples, cache)
        write_text(path, found.model_dump_json() + "\n")
        return found


def _kinship(test: Sequence[Example], development: Sequence[Example], cache: Path) -> CrossSplitDuplicates:
    parts = [index_images([example.image for example in part], cache) for part in (test, development)]
    if any(faults for _, faults in parts):
        raise MedvqaError("images changed while they were read", remedy="run the command again")
    rows, count = np.concatenate([part for part, _ in parts]), len(test)
    with threadpool_limits(1):  # many small products: BLAS threads would spend more time waiting than working
        pairs = hash_candidates(rows)
        pairs = pairs[pairs[:, 0] < count]  # those of two development images are the split's affair
        links = picture_links(pairs, picture_similarity(rows, pairs)) + text_links(rows)
    own = [link for link in links if max(link.one, link.other) < count]
    ids = [example.image_id for example in (*test, *development)]
    kin: dict[str, set[str]] = {}
    for one, other in _crossing(links, count):
        kin.setdefault(ids[one], set()).add(ids[other])
    return CrossSplitDuplicates(
        groups=dict(zip(ids[:count], map(int, join(own, count)), strict=True)),
        kin={image_id: tuple(sorted(others)) for image_id, others in kin.items()},
    )


def _crossing(links: Sequence[Link], count: int) -> list[tuple[int, int]]:
    """(test image, development image) of the links between the two."""
    ordered = [sorted((link.one, link.other)) for link in links]
    return [(one, other) for one, other in ordered if one < count <= other]
