"""The files in which experts leave their answers, and the images that they learn from and answer.

experts/<name>/val.jsonl    ranked answers to the validation images of a run
experts/<name>/test.jsonl   the same for the test images

Each has a record. Answers that were made from the same images with the same settings are kept; others are made again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imageclef_vqa.artefacts import ChangedError, check_artefact, write_artefact
from imageclef_vqa.data import Dataset, Split, read_dataset, read_split
from imageclef_vqa.editions import Candidate, Prediction, candidates_of, predictions_text, read_predictions
from imageclef_vqa.errors import MedvqaError, MissingStepError, UsageError
from imageclef_vqa.inputs import sha256
from imageclef_vqa.workspace import Workspace

CLASSICAL, FEATURES, RESNET34 = "classical", "features", "resnet34"
EXPERTS = (CLASSICAL, FEATURES, RESNET34)

Pair = tuple[str, int]  # image id, question id
RankedAnswers = Mapping[Pair, tuple[Candidate, ...]]  # the likeliest answer first
Expert = Callable[[Dataset, Path | None], RankedAnswers]  # of images, with the cache for their pixels


@dataclass(frozen=True)
class ExpertImages:
    """The training images of a run's fold, and the images to answer by the name of their file: `val` and `test`."""

    fold: int
    training: Dataset
    answered: Mapping[str, Dataset]
    groups: Mapping[str, int]  # of near-duplicates, by image id
    split: str  # SHA-256 of its file

    def inputs(self, name: str) -> dict[str, str]:
        """The content hashes of what the answers in the file `name` are made from."""
        inputs = {"development": self.training.fingerprint, "split": self.split}
        return inputs | {"test": self.answered["test"].fingerprint} if name == "test" else inputs


def read_expert_images(workspace: Workspace, fold: int | None = None) -> ExpertImages:
    """The images of a fold of the split; by default the fold that the run's predictions validate.

    Raises:
        MissingStepError: there is no split; or no fold is given, and there are no predictions.
        UsageError: the split has no such fold.
        MedvqaError: data, split and predictions do not belong together.
    """
    if fold is None:
        _require_predictions(workspace)
    dataset = read_dataset(workspace.development, cache=workspace.cache)
    split = read_split(workspace.split_file, dataset)
    fold = fold_of_run(workspace, split) if fold is None else fold
    if fold >= split.folds:
        raise UsageError(f"--fold {fold}: the split has folds 0 to {split.folds - 1}")
    answered = {"val": dataset.subset(split.val(fold))}
    if workspace.has_test:
        answered["test"] = read_dataset(workspace.test, cache=workspace.cache, labelled=False)
    return ExpertImages(fold, dataset.subset(split.train(fold)), answered, split.groups, sha256(workspace.split_file))


def fold_of_run(workspace: Workspace, split: Split) -> int:
    """The fold that the run's predictions validate.

    Raises:
        MissingStepError: there are no predictions.
        MedvqaError: they are for another split.
    """
    _require_predictions(workspace)
    path = workspace.predictions("val")
    if (fold := split.fold_of({prediction.image_id for prediction in read_predictions(path)})) is None:
        raise MedvqaError(
            f"{workspace.shown(path)} does not answer the validation images of {workspace.shown(workspace.split_file)}",
            remedy=f"`{workspace.typed('medvqa predict')}` does, once both stages are trained on this split",
        )
    return fold


def _require_predictions(workspace: Workspace) -> None:
    if not workspace.predictions("val").exists():
        where = workspace.shown(workspace.run_folder)
        raise MissingStepError(f"no predictions for val in {where}", workspace.typed("medvqa predict"))


def runs_of_other_folds(workspace: Workspace) -> list[Workspace]:
    """The runs whose predictions validate the other folds of the split, one run for each such fold.

    Raises:
        UsageError: there is none.
    """
    split = read_split(workspace.split_file, read_dataset(workspace.development, cache=workspace.cache))
    found = {fold_of_run(workspace, split): workspace}
    for path in sorted(workspace.work.glob("*/predictions/val.jsonl")):
        run = Workspace.at(workspace.root, path.parent.parent.name)
        fold = split.fold_of({prediction.image_id for prediction in read_predictions(path)})
        if fold is not None:
            found.setdefault(fold, run)
    if len(found) == 1:
        raise UsageError(
            "--folds: no run in work/ validates another fold of the split",
            remedy=workspace.completed(
                "after `medvqa split --folds 5`: `medvqa finetune --stage 1 --fold 1 --run fold1`, "
                "stage 2 and `medvqa predict --run fold1`, likewise for 2, 3 and 4"
            ),
        )
    return list(found.values())[1:]


def answers_file(workspace: Workspace, name: str, fold: str) -> Path:
    """The file of an expert's answers to `fold`."""
    return workspace.expert(name) / f"{fold}.jsonl"


def write_answers(
    workspace: Workspace,
    name: str,
    fold: str,
    answers: RankedAnswers,
    images: ExpertImages,
    settings: Mapping[str, Any],
) -> None:
    """Write an expert's ranked answers with their record; `settings` are JSON values that the answers depend on."""
    predictions = [
        Prediction(
            image_id=image_id,
            question_id=question,
            answers=candidates[0].answers,
            probability=candidates[0].probability,
            candidates=candidates,
            model=name,
        )
        for (image_id, question), candidates in answers.items()
    ]
    write_artefact(
        answers_file(workspace, name, fold),
        predictions_text(predictions).encode(),
        command="route",
        inputs=images.inputs(fold),
        options=settings,
    )


def has_answered(
    workspace: Workspace,
    name: str,
    images: ExpertImages,
    settings: Mapping[str, Any],
    notify: Callable[[str], None] = lambda message: None,
) -> bool:
    """Whether all answers of an expert are there, undamaged, and made from these images with these settings."""
    for fold in images.answered:
        path = answers_file(workspace, name, fold)
        if not path.exists():
            return False
        try:
            record = check_artefact(path, workspace.shown(path), "")
        except ChangedError as error:
            notify(f"{error.what}; the {name} expert answers again")
            return False
        if (record.inputs, record.options) != (images.inputs(fold), settings):
            return False
    return True


def require_unchanged(workspace: Workspace, name: str, images: ExpertImages, settings: Mapping[str, Any]) -> None:
    """Refuse an expert that differs from the one whose answers to the validation images decided about it.

    Raises:
        ChangedError: the split, the data, or the expert's settings have changed since; or its answers are damaged.
    """
    path = answers_file(workspace, name, "val")
    remedy = f"`{workspace.typed(f'medvqa route --expert {name}')}` makes its answers and decisions again"
    record = check_artefact(path, workspace.shown(path), remedy)
    if (record.inputs, record.options) != (images.inputs("val"), settings):
        raise ChangedError(f"the {name} expert has changed since it made {workspace.shown(path)}", remedy=remedy)


def read_answers(
    workspace: Workspace, names: Sequence[str], fold: str, plain: Sequence[Prediction]
) -> dict[str, RankedAnswers]:
    """Each expert's answers to the images that `plain` answers.

    Raises:
        MissingStepError: an expert has not answered one of these images.
    """
    wanted = {prediction.image_id for prediction in plain}
    ranked: dict[str, RankedAnswers] = {}
    for name in names:
        path = answers_file(workspace, name, fold)
        answers = read_predictions(path) if path.exists() else []
        if missing := wanted - {each.image_id for each in answers}:
            raise MissingStepError(
                f"{workspace.shown(path)} lacks {len(missing)} images that were predicted, such as {min(missing)}: "
                f"the {name} expert of {workspace.shown(workspace.run_folder)} answered other images",
                workspace.typed(f"medvqa route --expert {name}"),
            )
        ranked[name] = {(each.image_id, each.question_id): candidates_of(each) for each in answers}
    return ranked
