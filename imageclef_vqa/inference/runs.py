"""The trained runs that answer: one, or several as an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imageclef_vqa.data import Dataset, Split, read_dataset, read_split
from imageclef_vqa.editions import Vocabulary
from imageclef_vqa.errors import MedvqaError, MissingStepError, UsageError
from imageclef_vqa.files import sha256
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.training.checkpoint import MODEL, Stage, StageConfig
from imageclef_vqa.training.config import fingerprint
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class Run:
    """A finished stage 2: where it lies, what it was made from, what it may answer."""

    place: Workspace
    config: StageConfig
    vocabulary: Vocabulary
    hash: str

    @property
    def preset(self) -> Preset:
        return self.config.starting_point()


def read_run(workspace: Workspace) -> Run:
    """The run that a workspace names.

    Raises:
        MissingStepError: it has no finished stage 2.
    """
    folder = workspace.stage(2)
    stage = Stage(folder, workspace.shown(folder))
    if not stage.finished:
        raise MissingStepError(f"no finished stage 2 in {workspace.shown(folder)}", "medvqa finetune --stage 2")
    return Run(workspace, stage.config(), stage.vocabulary(), sha256(folder / MODEL))


@dataclass(frozen=True)
class Ensemble:
    """Runs that were trained on the same images, and the place for what they say together."""

    runs: tuple[Run, ...]
    place: Workspace

    @property
    def name(self) -> str:
        return f"blip2 {' + '.join(run.preset.name for run in self.runs)}"

    @property
    def vocabulary(self) -> Vocabulary:
        return self.runs[0].vocabulary

    @property
    def hash(self) -> str:
        return fingerprint(*(run.hash for run in self.runs))

    def calibrated_as(self, *, augment: bool) -> str:
        """What a calibration must name to be this ensemble's."""
        return fingerprint(self.hash, str(augment))

    @property
    def knows_all(self) -> bool:
        """Whether the validation images were learnt too, by `--train-on all`."""
        return self.runs[0].config.recipe.train_on == "all"

    def development(self) -> tuple[Dataset, Split]:
        """The development set and the split that the runs were trained on.

        Raises:
            MedvqaError: the split is another one: its validation images may have been learnt.
        """
        config = self.runs[0].config
        dataset = read_dataset(self.place.development, cache=self.place.cache)
        split = read_split(self.place.split_file, dataset)
        learnt = [each.image_id for each in dataset.examples] if self.knows_all else split.train(config.fold)
        if config.fold >= split.folds or config.training_images != fingerprint(*learnt):
            folder = self.place.shown(self.runs[0].place.stage(2))
            raise MedvqaError(
                f"{folder} was trained on another split than {self.place.shown(self.place.split_file)}",
                remedy="split as before, or train both stages anew",
            )
        return dataset, split


def read_ensemble(places: Sequence[Workspace]) -> Ensemble:
    """The runs of one workspace that answer together; one alone answers in its own folder.

    Raises:
        UsageError: a run is named twice.
        MissingStepError: one has no finished stage 2.
        MedvqaError: they were trained on different images, so no validation image is new to all of them.
    """
    names = [place.run for place in places]
    if len(set(names)) < len(names):
        raise UsageError(f"--run: {', '.join(names)}: an ensemble needs different runs")
    runs = tuple(read_run(place) for place in places)
    first = runs[0].config
    if others := [run.place.run for run in runs if run.config.training_images != first.training_images]:
        raise MedvqaError(
            f"run {', '.join(others)} was trained on other images than run {names[0]}",
            remedy="train the runs of an ensemble on the same split and fold",
        )
    if len(runs) == 1:
        return Ensemble(runs, places[0])
    return Ensemble(runs, Workspace.at(places[0].root, "-".join(["ensemble", *names])))
