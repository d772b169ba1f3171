"""`medvqa split`: development images into training and validation, without leaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imageclef_vqa.data import Dataset, Split, make_split, read_dataset
from imageclef_vqa.data.split import By
from imageclef_vqa.errors import UsageError
from imageclef_vqa.locks import sole_writer
from imageclef_vqa.pipeline.edition import edition_of
from imageclef_vqa.pipeline.overlap import Shared, overlaps_across_sets
from imageclef_vqa.workspace import Workspace

VAL = 0.1


@dataclass(frozen=True)
class SplitResult:
    """The data set, how it was split, the file that says so, and the images that data sets of the workspace share."""

    dataset: Dataset
    split: Split
    file: Path
    shared: Mapping[str, Mapping[str, Shared]]


def split(
    workspace: str | Path = ".",
    *,
    val: float | None = None,
    folds: int | None = None,
    by: By = "group",
    seed: int = 0,
) -> SplitResult:
    """Divide the development images: a share `val` of them validates (0.1 by default), or each of `folds` in turn.

    Raises:
        UsageError: both or neither can be meant, or a share or number of folds that cannot be.
        DataError: everything in the data set that cannot be used.
    """
    if val is not None and folds is not None:
        raise UsageError("--val and --folds exclude each other")
    if val is not None and not 0 < val < 1:
        raise UsageError(f"--val {val:g}: give a share between 0 and 1, as in --val 0.1")
    if folds is not None and folds < 2:
        raise UsageError(f"--folds {folds}: at least 2")
    at = Workspace.at(workspace)
    edition_of(at)
    at.check_development()
    with sole_writer(at.work):
        dataset = read_dataset(at.development, cache=at.cache)
        share = VAL if val is None and folds is None else val
        made = make_split(dataset, val=share, folds=folds, by=by, seed=seed, cache=at.cache)
        made.write(at.split_file)
        shared = overlaps_across_sets(at, {each.image_id: each.image for each in dataset.examples})
    return SplitResult(dataset, made, at.split_file, shared)
