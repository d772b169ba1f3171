"""Dividing a data set into training and validation without leaks, with a certificate of how that went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from threadpoolctl import threadpool_limits

from imageclef_vqa.data.dataset import Dataset
from imageclef_vqa.data.duplicates import (
    Link,
    hash_candidates,
    join,
    picture_links,
    picture_similarity,
    text_links,
)
from imageclef_vqa.data.images import index_images
from imageclef_vqa.data.stratify import stratify
from imageclef_vqa.editions import as_set
from imageclef_vqa.editions.records import ImageId
from imageclef_vqa.errors import MedvqaError, MissingStepError
from imageclef_vqa.files import write_text

By = Literal["group", "image"]
_COMMAND = "medvqa split"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Straddler(_Part):
    """Two images on different sides, and how similar their pictures are, from 0 to 1."""

    one: ImageId
    other: ImageId
    similarity: float = Field(ge=0, le=1)


class Certificate(_Part):
    """What is known of leaks: linked pairs are near-duplicates and frames of one examination."""

    groups: int
    largest_group: int
    linked_pairs: int
    leaked_pairs: int
    leaked_by_plain_split: int
    closest: Straddler | None  # None: no two pictures on different sides have hashes that are near each other


class Split(_Part):
    """`work/split.json`: which images validate, fold by fold. One fold, or k of them that share out all images."""

    version: Literal[1] = 1
    by: By
    seed: int
    validation: tuple[tuple[ImageId, ...], ...] = Field(min_length=1)
    groups: dict[ImageId, int]
    fingerprint: str
    certificate: Certificate

    @model_validator(mode="after")
    def _parts_the_images(self) -> Split:
        ids = [image_id for fold in self.validation for image_id in fold]
        if len(set(ids)) != len(ids) or not set(ids) <= self.groups.keys():
            raise ValueError("an image validates twice, or is in no group")
        if any(not fold or len(fold) == len(self.groups) for fold in self.validation):
            raise ValueError("a fold is empty")
        return self

    @property
    def folds(self) -> int:
        return len(self.validation)

    def val(self, fold: int = 0) -> tuple[str, ...]:
        """The images that validate in `fold`."""
        return self.validation[fold]

    def train(self, fold: int = 0) -> tuple[str, ...]:
        """The images that train in `fold`: all others."""
        held_out = set(self.validation[fold])
        return tuple(image_id for image_id in self.groups if image_id not in held_out)

    def fold_of(self, image_ids: Collection[str]) -> int:
        """The fold that these images validate.

        Raises:
            MedvqaError: they are no fold of this split.
        """
        for fold, held_out in enumerate(self.validation):
            if set(held_out) == set(image_ids):
                return fold
        raise MedvqaError(
            "the predictions are not for the validation images of work/split.json", remedy="`medvqa predict` makes them"
        )

    def write(self, path: Path) -> None:
        write_text(path, self.model_dump_json(indent=1) + "\n")


def read_split(path: Path, dataset: Dataset) -> Split:
    """The split in `path`, made for just this data set.

    Raises:
        MissingStepError: there is none.
        MedvqaError: it is damaged, or the data have changed since.
    """
    try:
        split = Split.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingStepError(f"no split at {path}", _COMMAND) from error
    except OSError as error:
        raise MedvqaError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "file"
        raise MedvqaError(
            f"{path} is damaged: {field}: {first['msg']}", remedy=f"`{_COMMAND}` makes it anew"
        ) from error
    if split.fingerprint != dataset.fingerprint or split.groups.keys() != {e.image_id for e in dataset.examples}:
        raise MedvqaError(
            f"{dataset.folder} has changed since {path} was made",
            remedy=f"`{_COMMAND}` makes it anew; runs made with the old one must be trained anew, too",
        )
    return split


def make_split(
    dataset: Dataset,
    *,
    val: float | None = None,
    folds: int | None = None,
    by: By = "group",
    seed: int = 0,
    cache: Path | None = None,
) -> Split:
    """Split off a share `val` of the images, or share all of them out among `folds`; the order of records and labels
    has no say in it.

    By `"group"`, near-duplicates and frames of one examination stay together and folds are stratified over the answers
    to all questions. By `"image"` is the plain random split of the paper.

    Raises:
        MedvqaError: there are too few images, or groups, to fill every fold.
    """
    if (val is None) == (folds is None):
        raise ValueError("either val or folds")
    dataset = dataset.subset(sorted(example.image_id for example in dataset.examples))
    ids = [example.image_id for example in dataset.examples]
    rows, faults = index_images([example.image for example in dataset.examples], cache)
    if faults:
        raise MedvqaError(f"{dataset.folder}: images changed while they were read", remedy="run the command again")
    with threadpool_limits(1):  # many small products: BLAS threads would spend more time waiting than working
        pairs = hash_candidates(rows)
        similarity = picture_similarity(rows, pairs)
        links = picture_links(pairs, similarity) + text_links(rows)
    group = join(links, len(ids))
    shares = [val, 1 - val] if val is not None else [1 / folds] * folds if folds else []
    plain = _deal(len(ids), shares, seed)
    fold = plain if by == "image" else _stratified(dataset, group, shares, seed)
    validating = range(1 if val is not None else len(shares))
    sizes = [int((fold == f).sum()) for f in range(len(shares))]
    if min(sizes) == 0:
        raise MedvqaError(
            f"{len(ids)} images in {group.max() + 1} groups do not fill every fold: sizes {sizes}",
            remedy="ask for fewer folds or another --val, or bring more images",
        )
    return Split(
        by=by,
        seed=seed,
        validation=tuple(tuple(ids[i] for i in np.flatnonzero(fold == f)) for f in validating),
        groups={image_id: int(g) for image_id, g in zip(ids, group, strict=True)},
        fingerprint=dataset.fingerprint,
        certificate=Certificate(
            groups=int(group.max()) + 1,
            largest_group=int(np.bincount(group).max()),
            linked_pairs=len({(link.one, link.other) for link in links}),
            leaked_pairs=_parted(links, fold),
            leaked_by_plain_split=_parted(links, plain),
            closest=_closest(ids, pairs, similarity, fold),
        ),
    )


def _deal(count: int, shares: Sequence[float], seed: int) -> np.ndarray:
    """A plain random fold [count] for every image."""
    ends = np.rint(np.cumsum(shares) * count).astype(int)
    fold = np.empty(count, dtype=int)
    for number, places in enumerate(np.split(np.random.default_rng(seed).permutation(count), ends[:-1])):
        fold[places] = number
    return fold


def _stratified(dataset: Dataset, group: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    labels = [{(q, a) for q, given in e.answers.items() for a in as_set(given)} for e in dataset.examples]
    place = {label: at for at, label in enumerate(sorted(set().union(*labels)))}
    counts = np.zeros((int(group.max()) + 1, len(place)))
    for g, held in zip(group, labels, strict=True):
        for label in held:
            counts[g, place[label]] += 1
    return stratify(counts, np.bincount(group).astype(float), shares, seed)[group]


def _parted(links: Sequence[Link], fold: np.ndarray) -> int:
    return len({(link.one, link.other) for link in links if fold[link.one] != fold[link.other]})


def _closest(ids: Sequence[str], pairs: np.ndarray, similarity: np.ndarray, fold: np.ndarray) -> Straddler | None:
    parted = fold[pairs[:, 0]] != fold[pairs[:, 1]]
    if not parted.any():
        return None
    best = int(np.argmax(np.where(parted, similarity, -1)))
    one, other = pairs[best]
    return Straddler(one=ids[one], other=ids[other], similarity=float(similarity[best]))


def answers_only_in_validation(dataset: Dataset, split: Split, fold: int = 0) -> list[tuple[int, str]]:
    """Question and answer of what the validation images of `fold` say and no training image does."""

    def said(image_ids: Sequence[str]) -> Counter[tuple[int, str]]:
        return Counter((q, a) for q, given in dataset.subset(image_ids).labels() for a in as_set(given))

    return sorted(said(split.val(fold)).keys() - said(split.train(fold)).keys())
