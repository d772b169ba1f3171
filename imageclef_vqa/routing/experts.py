"""What experts leave in a run, and the linear one's part in it.

experts/<name>/            the trained expert
experts/<name>/val.jsonl   its ranked answers to the validation images, and to the test images in test.jsonl
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from imageclef_vqa.data import Dataset, Split, load_pixels, read_dataset, read_split
from imageclef_vqa.errors import MissingStepError, UsageError
from imageclef_vqa.files import sole_writer
from imageclef_vqa.routing.descriptors import SIZE, Floats, describe, describe_turned
from imageclef_vqa.routing.judging import Ranked, candidates_of
from imageclef_vqa.routing.linear import LinearExpert, fit_linear_expert, load_expert, save_expert, settings_for
from imageclef_vqa.task import Prediction, learn_vocabulary, read_predictions, write_predictions
from imageclef_vqa.workspace import Workspace

LINEAR, RESNET34 = "linear", "resnet34"
_RARE = 3


def fold_of_run(place: Workspace, split: Split) -> int:
    """The fold that the run's predictions validate.

    Raises:
        MissingStepError: there are no predictions.
        MedvqaError: they are of another split.
    """
    _demand_predictions(place)
    return split.fold_of({prediction.image_id for prediction in read_predictions(place.predictions("val"))})


def _demand_predictions(place: Workspace) -> None:
    if not place.predictions("val").exists():
        raise MissingStepError(f"no predictions for val in {place.shown(place.run_folder)}", "medvqa predict")


def runs_of_other_folds(place: Workspace) -> list[Workspace]:
    """The runs whose predictions validate other folds of the split, one for each fold that has any.

    Raises:
        UsageError: there is none.
    """
    split = read_split(place.split_file, read_dataset(place.development, cache=place.cache))
    found = {fold_of_run(place, split): place}
    for path in sorted(place.work.glob("*/predictions/val.jsonl")):
        run = Workspace.at(place.root, path.parent.parent.name)
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
    place: Workspace, *, fold: int | None = None, train: bool = True, say: Callable[[str], None] = lambda message: None
) -> bool:
    """Fit the linear expert to the training images and answer validation and test images; whether it was there already.

    It is used again while data, split and settings stay the same. `fold` is that of the run's predictions if not given.

    Raises:
        MissingStepError: there is no split, or there are no predictions; there is no expert, and `train` is false.
    """
    if fold is None:
        _demand_predictions(place)
    with sole_writer(place.run_folder):
        dataset = read_dataset(place.development, cache=place.cache)
        split = read_split(place.split_file, dataset)
        fold = fold_of_run(place, split) if fold is None else fold
        if fold >= split.folds:
            raise UsageError(f"--fold {fold}: the split has folds 0 to {split.folds - 1}")
        expert, reused = _expert(place, dataset.subset(sorted(split.train(fold))), train, say)
        folds = {"val": dataset.subset(split.val(fold))}
        if place.has_test:
            folds["test"] = read_dataset(place.test, cache=place.cache, labelled=False)
        for name, images in folds.items():
            features = describe(load_pixels(images, SIZE, place.cache))
            write_predictions(place.expert(LINEAR) / f"{name}.jsonl", _answers(expert, features, images))
    return reused


def read_answers(place: Workspace, names: Sequence[str], fold: str, plain: Sequence[Prediction]) -> dict[str, Ranked]:
    """What each expert answers to the images that `plain` answers.

    Raises:
        MissingStepError: an expert has answered nothing, or other images.
    """
    asked = {prediction.image_id for prediction in plain}
    ranked: dict[str, Ranked] = {}
    for name in names:
        path = place.expert(name) / f"{fold}.jsonl"
        answers = read_predictions(path) if path.exists() else []
        if missing := asked - {each.image_id for each in answers}:
            raise MissingStepError(
                f"{place.shown(path)} lacks answers to {len(missing)} images ({min(missing)}): the {name} expert of "
                f"{place.shown(place.run_folder)} is older than its predictions",
                f"medvqa route --expert {name}",
            )
        ranked[name] = {(each.image_id, each.question_id): candidates_of(each) for each in answers}
    return ranked


def _expert(place: Workspace, training: Dataset, train: bool, say: Callable[[str], None]) -> tuple[LinearExpert, bool]:
    folder = place.expert(LINEAR)
    ids = "\n".join(example.image_id for example in training.examples)
    settings = settings_for({"data": training.fingerprint, "training": hashlib.sha256(ids.encode()).hexdigest()})
    if (saved := load_expert(folder, settings)) is not None:
        return saved, True
    if not train:
        raise MissingStepError(f"no linear expert for this split in {place.shown(folder)}", "medvqa route --train-only")
    sets = [count for entry in learn_vocabulary(training.labels()).questions for _, count in entry.sets]
    rare = sum(count <= _RARE for count in sets)
    say(
        f"fitting the linear expert to {len(training)} images; {rare} of {len(sets)} answers are given at most "
        f"{_RARE} times, and weigh no more for it"
    )
    views = describe_turned(load_pixels(training, SIZE, place.cache))
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
