"""The trained runs that answer: one, or several as an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imageclef_vqa.artefacts import ChangedError
from imageclef_vqa.checkpoints.packaged import weights_file
from imageclef_vqa.data import Dataset, Split, read_dataset, read_split
from imageclef_vqa.editions import Vocabulary
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.inputs import sha256
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.training.checkpoint import Stage
from imageclef_vqa.training.config import VOCABULARY, StageConfig, fingerprint
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class TrainedRun:
    """A finished stage 2: its workspace, what it was trained from, its allowed answers, the digest of its record."""

    workspace: Workspace
    config: StageConfig
    vocabulary: Vocabulary | None  # of closed questions
    digest: str

    @property
    def preset(self) -> Preset:
        return self.config.starting_point()


def read_run(workspace: Workspace) -> TrainedRun:
    """The trained run of a workspace. Its files and the frozen weights that it needs are read and hashed completely.

    Raises:
        MissingStepError: it has no finished stage 2.
        ChangedError: one of these files is not the one that it was when stage 2 was finished.
    """
    stage = Stage(workspace, 2)
    digest = stage.check().digest
    closed = (stage.folder / VOCABULARY).exists()
    run = TrainedRun(workspace, stage.config(), stage.vocabulary() if closed else None, digest)
    for name, expected in stage.check().inputs.items():
        kind, _, file = name.partition("/")
        if kind == "weights" and sha256(path := weights_file(run.preset, file)) != expected:
            raise ChangedError(
                f"{path} is not the file that {stage.shown} was trained with: its content has changed",
                remedy=f"restore it, or train both stages again: `{stage.command} --fresh` is the second one",
            )
    return run


@dataclass(frozen=True)
class Ensemble:
    """One or more runs trained on the same images, and the workspace for their joint answers."""

    runs: tuple[TrainedRun, ...]
    workspace: Workspace

    @property
    def name(self) -> str:
        return f"blip2 {' + '.join(run.preset.name for run in self.runs)}"

    @property
    def vocabulary(self) -> Vocabulary:
        """What the runs may answer to closed questions."""
        vocabulary = self.runs[0].vocabulary
        assert vocabulary is not None, "open questions have no vocabulary"
        return vocabulary

    @property
    def open(self) -> bool:
        """Whether the runs answer open questions."""
        return self.runs[0].vocabulary is None

    @property
    def inputs(self) -> dict[str, str]:
        """The models that answer, as the record of their answers names them."""
        if len(self.runs) == 1:
            return {"stage2": self.runs[0].digest}
        return {f"work/{run.workspace.run}/stage2": run.digest for run in self.runs}

    def read_development(self) -> tuple[Dataset, Split]:
        """The development set and its split. Raises what `read_dataset` and `read_split` raise."""
        dataset = read_dataset(self.workspace.development, cache=self.workspace.cache)
        return dataset, read_split(self.workspace.split_file, dataset)

    def outside(self, name: str) -> str:
        """The name of an input of this run in records that are not the run's own."""
        return name if name.startswith("work/") else f"work/{self.workspace.run}/{name}"

    @property
    def fold(self) -> int:
        """The fold that the runs were validated on."""
        return self.runs[0].config.fold

    @property
    def trained_on_all(self) -> bool:
        """Whether the validation images were trained on too (`--train-on all`)."""
        return self.runs[0].config.recipe.train_on == "all"

    def calibration_key(self, *, augment: bool) -> str:
        """The `model` of a calibration that was fitted to this ensemble."""
        return fingerprint(*(run.digest for run in self.runs), str(augment))

    def check_split(self, dataset: Dataset, split: Split) -> None:
        """Reject a split that the runs were not trained on: its validation images may be among their training images.

        Raises:
            MedvqaError: the runs were trained on another split.
        """
        config = self.runs[0].config
        images = dataset.image_ids if self.trained_on_all else split.train(config.fold)
        if config.fold >= split.folds or config.training_images != fingerprint(*images):
            folder = self.workspace.shown(self.runs[0].workspace.stage(2))
            raise MedvqaError(
                f"{folder} was trained on another split than {self.workspace.shown(self.workspace.split_file)}",
                remedy="restore that split, or train both stages again",
            )


def read_ensemble(workspaces: Sequence[Workspace]) -> Ensemble:
    """The runs of one data set that answer together; a single run answers in its own folder.

    Raises:
        UsageError: a run is named twice.
        MissingStepError: a run has no finished stage 2.
        MedvqaError: the runs were trained on different images, so no validation image is new to all of them.
    """
    names = [workspace.run for workspace in workspaces]
    if len(set(names)) < len(names):
        raise UsageError(f"--run: {', '.join(names)}: an ensemble needs different runs")
    runs = tuple(read_run(workspace) for workspace in workspaces)
    first = runs[0].config
    if others := [run.workspace.run for run in runs if run.config.training_images != first.training_images]:
        raise MedvqaError(
            f"run {', '.join(others)} was trained on other images than run {names[0]}",
            remedy="train the runs of an ensemble on the same split and fold",
        )
    if len(runs) == 1:
        return Ensemble(runs, workspaces[0])
    joint = Workspace.at(workspaces[0].root, "-".join(["ensemble", *names]))
    return Ensemble(runs, replace(joint, cache_folder=workspaces[0].cache_folder))
