"""`work/split.json`: which images train and which validate, with a certificate about leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from imageclef_vqa.data.dataset import Dataset
from imageclef_vqa.editions import as_set
from imageclef_vqa.editions.records import ImageId
from imageclef_vqa.errors import MedvqaError, MissingFileError, MissingStepError
from imageclef_vqa.files import write_text
from imageclef_vqa.inputs import read_model
from imageclef_vqa.workspace import Workspace

By = Literal["group", "image"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClosestPair(_Record):
    """Two images on different sides, with the similarity of the pictures from 0 to 1."""

    one: ImageId
    other: ImageId
    similarity: float = Field(ge=0, le=1)


class Certificate(_Record):
    """Leaks of a split. Linked pairs are near-duplicates and frames of one examination.

    `closest` is None if no two images on different sides have close perceptual hashes.
    """

    groups: int
    largest_group: int
    linked_pairs: int
    leaked_pairs: int
    leaked_by_plain_split: int
    closest: ClosestPair | None


class Split(_Record):
    """The validation images of each fold: one fold, or k folds that together hold all images."""

    version: Literal[1] = 1
    by: By
    seed: int
    validation: tuple[tuple[ImageId, ...], ...] = Field(min_length=1)
    groups: dict[ImageId, int]
    fingerprint: str
    certificate: Certificate

    @model_validator(mode="after")
    def _check_folds(self) -> Split:
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
        """The validation images of `fold`."""
        return self.validation[fold]

    def train(self, fold: int = 0) -> tuple[str, ...]:
        """The training images of `fold`: all others."""
        held_out = set(self.validation[fold])
        return tuple(image_id for image_id in self.groups if image_id not in held_out)

    def grouped_share(self, image_ids: Collection[str]) -> float:
        """The share of these images that are in a group with other images."""
        sizes = Counter(self.groups.values())
        return sum(sizes[self.groups[image_id]] > 1 for image_id in image_ids) / len(image_ids)

    def fold_of(self, image_ids: Collection[str]) -> int | None:
        """The fold whose validation images these are; None if there is no such fold."""
        return next((n for n, held_out in enumerate(self.validation) if set(held_out) == set(image_ids)), None)

    def write(self, path: Path) -> None:
        """Write the split to `path`, completely or not at all."""
        write_text(path, self.model_dump_json(indent=1) + "\n")


def read_split(path: Path, dataset: Dataset) -> Split:
    """The split in `path`, which was made from this data set.

    Raises:
        MissingStepError: there is no such file.
        MedvqaError: it is damaged, or the data set has changed since.
    """
    command = Workspace.at(path.parent.parent).typed("medvqa split")
    try:
        split = read_model(path, Split, f"`{command}` writes it again")
    except MissingFileError as error:
        raise MissingStepError(f"no split at {path}", command) from error
    if split.fingerprint != dataset.fingerprint or split.groups.keys() != set(dataset.image_ids):
        raise MedvqaError(
            f"{dataset.folder} has changed since {path} was made",
            remedy=f"run `{command}` again, and then train the runs of the old split again",
        )
    return split


def answers_only_in_validation(dataset: Dataset, split: Split, fold: int = 0) -> list[tuple[int, str]]:
    """(question id, answer) of the answers in the validation images of `fold` that no training image has.

    Nothing for open questions, where many a sentence occurs once.
    """
    if dataset.open:
        return []
    training, validation = (
        {(q, answer) for q, given in dataset.subset(ids).labels() for answer in as_set(given)}
        for ids in (split.train(fold), split.val(fold))
    )
    return sorted(validation - training)
