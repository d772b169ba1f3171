"""The development set of a workspace as it was split, and what a run learnt from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from imageclef_vqa.artefacts import ChangedError, read_record
from imageclef_vqa.data import Dataset, Split, read_dataset, read_split
from imageclef_vqa.data.reading import has_gold
from imageclef_vqa.editions import Vocabulary, learn_vocabulary
from imageclef_vqa.errors import UsageError
from imageclef_vqa.experts.answers import fold_of_run
from imageclef_vqa.inputs import read_model, sha256
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class Development:
    """The development set, its split, and the fold that a run validates on."""

    dataset: Dataset
    split: Split
    fold: int

    @cached_property
    def training(self) -> Dataset:
        return self.dataset.subset(self.split.train(self.fold))

    @cached_property
    def validation(self) -> Dataset:
        return self.dataset.subset(self.split.val(self.fold))


def read_development(workspace: Workspace, fold: int | None = None, *, dataset: Dataset | None = None) -> Development:
    """The development set of `workspace`; without `fold`, the fold that the run's predictions validate.

    `dataset` is the development set if it was read before.

    Raises:
        MissingStepError: there is no split.
        MedvqaError: the data cannot be used, or the split or the predictions belong to other data.
        UsageError: the split has no such fold.
    """
    dataset = dataset or read_dataset(workspace.development, cache=workspace.cache)
    split = read_split(workspace.split_file, dataset)
    if fold is None:
        fold = fold_of_run(workspace, split) if workspace.predictions("val").exists() else 0
    if fold >= split.folds:
        raise UsageError(f"--fold {fold}: the split has folds 0 to {split.folds - 1}")
    return Development(dataset, split, fold)


def load_dataset(path: str | Path) -> Dataset:
    """A data set: `gt.json` or `qa.jsonl` beside `images/`, or the test set's `images/` with a list or questions.

    Raises:
        DataError: everything in it that cannot be used.
    """
    folder = Path(path)
    return read_dataset(folder, cache=None, labelled=has_gold(folder))


def training_vocabulary(workspace: Workspace, development: Development) -> Vocabulary:
    """What the model of this run may answer; without a model, what the training fold's labels hold."""
    return saved_vocabulary(workspace) or learn_vocabulary(development.training.labels())


def saved_vocabulary(workspace: Workspace) -> Vocabulary | None:
    """What the model of this run may answer; None without a model.

    Raises:
        MedvqaError: the file is damaged, or is not the one that was finished.
    """
    saved = workspace.stage(2) / "vocabulary.json"
    shown, remedy = workspace.shown(saved), f"`{workspace.typed('medvqa finetune --stage 2 --fresh')}` trains it again"
    record = read_record(saved.parent)
    if not saved.exists():
        if record is not None and saved.name in record.files:
            raise ChangedError(f"{shown} is missing", remedy=remedy)
        return None
    if record is not None and record.files.get(saved.name) != sha256(saved):
        raise ChangedError(f"{shown} is not the file that was finished: its content has changed", remedy=remedy)
    return read_model(saved, Vocabulary, remedy)
