"""What `medvqa predict` is asked for: options, and the images to answer with the file for their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from imageclef_vqa.data import Dataset, Pictures, Split, read_pictures
from imageclef_vqa.data.reading import list_file
from imageclef_vqa.editions import Prediction
from imageclef_vqa.errors import MissingStepError, UsageError
from imageclef_vqa.inference.ranked import Optimise
from imageclef_vqa.inference.runs import Ensemble
from imageclef_vqa.inputs import sha256


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """How to answer. On validation images, no other value did better than a default (`examples/experiments.md`)."""

    decode: Literal["closed", "free"] = "closed"
    optimise: Optimise = "exact"
    augment: bool = False
    consistent: bool = False
    on_bad_image: Literal["stop", "prior"] = "stop"

    @property
    def variant(self) -> str | None:
        """The name under which answers with these options are kept; None for the plain ones."""
        names = {
            "free": self.decode == "free",
            "f1": self.optimise == "f1",
            "augmented": self.augment,
            "consistent": self.consistent,
        }
        return "-".join(name for name, chosen in names.items() if chosen) or None

    def check(self, runs: int) -> None:
        """Reject options that free answers cannot have.

        Raises:
            UsageError: `--decode free` with several runs, or with another option on answers.
        """
        if self.decode == "free" and (runs > 1 or self.augment or self.consistent or self.optimise != "exact"):
            raise UsageError("--decode free needs a single --run and no other option on answers")


@dataclass(frozen=True)
class Job:
    """Images to answer and the file for the answers.

    Attributes:
        inputs: what the answers depend on besides models and options, for their record.
        gold, groups: given where a temperature is fitted.
        own: whether the file is the run's own; the record of another one names the run.
        route: what makes the answers that are written from BLIP-2's; None for the latter.
    """

    name: str
    pictures: Pictures
    target: Path
    inputs: dict[str, str] = field(default_factory=dict)
    gold: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    own: bool = True
    route: Callable[[list[Prediction]], list[Prediction]] | None = None


def fold_jobs(
    ensemble: Ensemble, dataset: Dataset, split: Split, folds: Sequence[str], options: PredictOptions, name: str | None
) -> list[Job]:
    """A job per fold; without `folds`, for the validation fold and, if there is one, the test set.

    The answers are kept under `name`; without one, they are the plain ones.

    Raises:
        UsageError: a fold of the development set is asked of runs that were trained on all of it.
        MissingStepError: there are no test images.
        MedvqaError: the runs were trained on another split.
    """
    workspace = ensemble.workspace
    ensemble.check_split(dataset, split)
    if ensemble.trained_on_all:
        if trained := [fold for fold in folds if fold != "test"]:
            raise UsageError(f"--fold {', '.join(trained)}: run {workspace.run} was trained on all development images")
        folds = ["test"]
    if "test" in folds and not workspace.has_test:
        raise MissingStepError(
            f"no test images in {workspace.shown(workspace.test)}",
            workspace.typed("medvqa predict --images FOLDER --out FILE"),
        )
    development = {"development": dataset.fingerprint, "split": sha256(workspace.split_file)}
    jobs = []
    for fold in dict.fromkeys(folds or (("val", "test") if workspace.has_test else ("val",))):
        target = workspace.predictions(fold, name)
        if fold == "test":
            pictures = read_pictures(workspace.test / "images", list_file(workspace.test), cache=workspace.cache)
            inputs = {"test": pictures.readable.fingerprint} | (development if options.consistent else {})
            jobs.append(Job(fold, pictures, target, inputs))
            continue
        part = dataset.subset(split.val(ensemble.fold) if fold == "val" else split.train(ensemble.fold))
        pictures = Pictures(part.image_ids, part, {})
        labels = (part.gold(), split.groups) if fold == "val" else ({}, {})
        jobs.append(Job(fold, pictures, target, development, *labels))
    return jobs
