"""The files in which experts leave their answers, and the images that they learn from and answer.

experts/<name>/val.jsonl    ranked answers to the validation images of a run
experts/<name>/test.jsonl   the same for the test images
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from imageclef_vqa.data import Dataset, Split, read_dataset, read_split
from imageclef_vqa.editions import Candidate, Prediction, candidates_of, read_predictions, write_predictions
from imageclef_vqa.errors import MissingStepError, UsageError
from imageclef_vqa.workspace import Workspace

CLASSICAL, RESNET34 = "classical", "resnet34"
EXPERTS = (CLASSICAL, RESNET34)

Pair = tuple[str, int]  # image id, question id
RankedAnswers = Mapping[Pair, tuple[Candidate, ...]]  # the likeliest answer first


@dataclass(frozen=True)
class ExpertImages:
    """The training images of a run's fold, and the images to answer by the name of their file: `val` and `test`."""

    training: Dataset
    answered: Mapping[str, Dataset]
    groups: Mapping[str, int]  # of near-duplicates, by image id


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
    return ExpertImages(dataset.subset(split.train(fold)), answered, split.groups)


def fold_of_run(workspace: Workspace, split: Split) -> int:
    """The fold that the run's predictions validate.

    Raises:
        MissingStepError: there are no predictions.
        MedvqaError: they are for another split.
    """
    _require_predictions(workspace)
    return split.fold_of({prediction.image_id for prediction in read_predictions(workspace.predictions("val"))})


def _require_predictions(workspace: Workspace) -> None:
    if not workspace.predictions("val").exists():
        raise MissingStepError(f"no predictions for val in {workspace.shown(workspace.run_folder)}", "medvqa predict")


def runs_of_other_folds(workspace: Workspace) -> list[Workspace]:
    """The runs whose predictions validate the other folds of the split, one run for each such fold.

    Raises:
        UsageError: there is none.
    """
    split = read_split(workspace.split_file, read_dataset(workspace.development, cache=workspace.cache))
    found = {fold_of_run(workspace, split): workspace}
    for path in sorted(workspace.work.glob("*/predictions/val.jsonl")):
        run = Workspace.at(workspace.root, path.parent.parent.name)
        ids = {prediction.image_id for prediction in read_predictions(path)}
        for fold in (fold for fold in range(split.folds) if ids == set(split.val(fold))):
            found.setdefault(fold, run)
    if len(found) == 1:
        raise UsageError(
            "--folds: no run in work/ validates another fold of the split",
            remedy="after `medvqa split --folds 5`: `medvqa finetune --stage 1 --fold 1 --run fold1`, "
            "stage 2 and `medvqa predict --run fold1`, likewise for 2, 3 and 4",
        )
    return list(found.values())[1:]


def write_answers(workspace: Workspace, name: str, fold: str, answers: RankedAnswers, order: Iterable[Pair]) -> None:
    """Write an expert's ranked answers in this order of pairs; pairs that it does not answer are left out."""
    predictions = [
        Prediction(
            image_id=pair[0],
            question_id=pair[1],
            answers=answers[pair][0].answers,
            probability=answers[pair][0].probability,
            candidates=answers[pair],
            model=name,
        )
        for pair in order
        if pair in answers
    ]
    write_predictions(workspace.expert(name) / f"{fold}.jsonl", predictions)


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
        path = workspace.expert(name) / f"{fold}.jsonl"
        answers = read_predictions(path) if path.exists() else []
        if missing := wanted - {each.image_id for each in answers}:
            raise MissingStepError(
                f"{workspace.shown(path)} lacks {len(missing)} images that were predicted, such as {min(missing)}: "
                f"the {name} expert of {workspace.shown(workspace.run_folder)} answered other images",
                f"medvqa route --expert {name}",
            )
        ranked[name] = {(each.image_id, each.question_id): candidates_of(each) for each in answers}
    return ranked
