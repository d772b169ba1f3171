"""What experts leave in a run, and the linear one's part in it.

experts/<name>/            the trained expert
experts/<name>/val.jsonl   its ranked answers to the validation images, and to the test images in test.jsonl
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from imageclef_vqa.data import Dataset, Split, load_pixels, read_dataset, read_split
from imageclef_vqa.editions import (
    Candidate,
    Prediction,
    candidates_of,
    learn_vocabulary,
    read_predictions,
    write_predictions,
)
from imageclef_vqa.errors import MissingStepError, UsageError
from imageclef_vqa.experts.descriptors import SIZE, Floats, describe, describe_turned
from imageclef_vqa.experts.linear import LinearExpert, fit_linear_expert, load_expert, save_expert, settings_for
from imageclef_vqa.files import sole_writer
from imageclef_vqa.workspace import Workspace

Ranked = Mapping[tuple[str, int], tuple[Candidate, ...]]  # (image id, question id) → answers, best first

LINEAR, RESNET34 = "linear", "resnet34"
_RARE = 3


def fold_of_run(workspace: Workspace, split: Split) -> int:
    """The fold that the run's predictions validate.

    Raises:
        MissingStepError: there are no predictions.
        MedvqaError: they are of another split.
    """
    _demand_predictions(workspace)
    return split.fold_of({prediction.image_id for prediction in read_predictions(workspace.predictions("val"))})


def _demand_predictions(workspace: Workspace) -> None:
    if not workspace.predictions("val").exists():
        raise MissingStepError(f"no predictions for val in {workspace.shown(workspace.run_folder)}", "medvqa predict")


def runs_of_other_folds(workspace: Workspace) -> list[Workspace]:
    """The runs whose predictions validate other folds of the split, one for each fold that has any.

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


def answer_linear(
    workspace: Workspace,
    *,
    fold: int | None = None,
    train: bool = True,
    notify: Callable[[str], None] = lambda message: None,
) -> bool:
    """Fit the linear expert to the training images and answer validation and test images; whether it was there already.

    It is used again while data, split and settings stay the same. `fold` is that of the run's predictions if not given.

    Raises:
        MissingStepError: there is no split, or there are no predictions; there is no expert, and `train` is false.
    """
    if fold is None:
        _demand_predictions(workspace)
    with sole_writer(workspace.run_folder):
        dataset = read_dataset(workspace.development, cache=workspace.cache)
        split = read_split(workspace.split_file, dataset)
        fold = fold_of_run(workspace, split) if fold is None else fold
        if fold >= split.folds:
            raise UsageError(f"--fold {fold}: the split has folds 0 to {split.folds - 1}")
        expert, reused = _expert(workspace, dataset.subset(sorted(split.train(fold))), train, notify)
        folds = {"val": dataset.subset(split.val(fold))}
        if workspace.has_test:
            folds["test"] = read_dataset(workspace.test, cache=workspace.cache, labelled=False)
        for name, images in folds.items():
            features = describe(load_pixels(images, SIZE, workspace.cache))
            write_predictions(workspace.expert(LINEAR) / f"{name}.jsonl", _answers(expert, features, images))
    return reused


def read_answers(
    workspace: Workspace, names: Sequence[str], fold: str, plain: Sequence[Prediction]
) -> dict[str, Ranked]:
    """What each expert answers to the images that `plain` answers.

    Raises:
        MissingStepError: an expert has answered nothing, or other images.
    """
    asked = {prediction.image_id for prediction in plain}
    ranked: dict[str, Ranked] = {}
    for name in names:
        path = workspace.expert(name) / f"{fold}.jsonl"
        answers = read_predictions(path) if path.exists() else []
        if missing := asked - {each.image_id for each in answers}:
            raise MissingStepError(
                f"{workspace.shown(path)} lacks answers to {len(missing)} images ({min(missing)}): "
                f"the {name} expert of "
                f"{workspace.shown(workspace.run_folder)} is older than its predictions",
                f"medvqa route --expert {name}",
            )
        ranked[name] = {(each.image_id, each.question_id): candidates_of(each) for each in answers}
    return ranked


def _expert(
    workspace: Workspace, training: Dataset, train: bool, notify: Callable[[str], None]
) -> tuple[LinearExpert, bool]:
    folder = workspace.expert(LINEAR)
    ids = "\n".join(example.image_id for example in training.examples)
    settings = settings_for({"data": training.fingerprint, "training": hashlib.sha256(ids.encode()).hexdigest()})
    if (saved := load_expert(folder, settings)) is not None:
        return saved, True
    if not train:
        raise MissingStepError(
            f"no linear expert for this split in {workspace.shown(folder)}", "medvqa route --train-only"
        )
    sets = [count for entry in learn_vocabulary(training.labels()).questions for _, count in entry.sets]
    rare = sum(count <= _RARE for count in sets)
    notify(
        f"fitting the linear expert to {len(training)} images; {rare} of {len(sets)} answers are given at most "
        f"{_RARE} times, and weigh no more for it"
    )
    views = describe_turned(load_pixels(training, SIZE, workspace.cache))
    expert = fit_linear_expert(views, [example.answers for example in training.examples])
    save_expert(folder, expert, settings)
    return expert, False


def _answers(expert: LinearExpert, features: Floats, images: Dataset) -> list[Prediction]:
    ranked = expert.rank(features, expert.heads)
    return [
        Prediction(
            image_id=example.image_id,
            question_id=question,
            answers=ranked[question][at][0].answers,
            probability=ranked[question][at][0].probability,
            candidates=ranked[question][at],
            model=LINEAR,
        )
        for at, example in enumerate(images.examples)
        for question in ranked
    ]
