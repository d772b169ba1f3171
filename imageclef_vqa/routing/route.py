"""`medvqa route`: fit the expert, weigh it against BLIP-2 on validation images, let it answer where it is better."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imageclef_vqa.data import Dataset, load_pixels, read_dataset, read_split
from imageclef_vqa.errors import MedvqaError, MissingStepError
from imageclef_vqa.files import sole_writer
from imageclef_vqa.routing.descriptors import SIZE, describe
from imageclef_vqa.routing.evidence import Decision
from imageclef_vqa.routing.linear import LinearExpert, fit_linear_expert, load_expert, save_expert, settings_for
from imageclef_vqa.routing.takeover import LINEAR, Policy, Ranked, apply, decide
from imageclef_vqa.task import Prediction, read_predictions, write_predictions
from imageclef_vqa.workspace import Workspace

PAPER_QUESTIONS = (16, 17)


@dataclass(frozen=True)
class Routed:
    """What was decided and written.

    `blip2` and `routed` are mean accuracies over the considered questions on the validation images, which also
    decided; `cross_fitted` is that of deciding by the other images. None where there is nothing to compare.
    """

    policy: Policy
    decisions: tuple[Decision, ...]
    blip2: float | None
    routed: float | None
    cross_fitted: float | None
    images: int
    files: dict[str, Path]
    replaced: dict[str, int]
    reused: bool
    seconds: float


def route(
    place: Workspace,
    *,
    policy: Policy = "evidence",
    questions: Sequence[int],
    seed: int = 0,
    say: Callable[[str], None] = lambda message: None,
) -> Routed:
    """Route the predictions of a run for validation and, where there are any, test images.

    The expert learns from the training images alone, lies in `experts/linear/` of the run, and is used again while
    data, split and settings stay the same. Questions without training answers keep BLIP-2's.

    Raises:
        MissingStepError: there is no split, or there are no predictions for it.
        MedvqaError: data or files are damaged or do not belong together.
    """
    start = time.monotonic()
    with sole_writer(place.run_folder):
        plain = _read_plain(place)
        dataset = read_dataset(place.development, cache=place.cache)
        split = read_split(place.split_file, dataset)
        number = split.fold_of({prediction.image_id for prediction in plain["val"]})
        validation = dataset.subset(split.val(number))
        folds = {"val": validation}
        if "test" in plain:
            test = read_dataset(place.test, cache=place.cache, labelled=False)
            folds["test"] = _answered(test, plain["test"], place.predictions("test"))
        expert, reused = _expert(place, dataset.subset(sorted(split.train(number))), say)
        considered = [q for q in questions if q in expert.heads]
        ranked = {fold: _rank(expert, part, considered, place.cache) for fold, part in folds.items()}
        result = decide(plain["val"], ranked["val"], validation.gold(), split.groups, considered, policy, seed)
        files, replaced = {}, {}
        for fold, predictions in plain.items():
            routed = apply(result.decisions, predictions, ranked[fold])
            files[fold] = place.routed(fold)
            replaced[fold] = sum(prediction.replaced is not None for prediction in routed)
            write_predictions(files[fold], routed)
    return Routed(
        policy=policy,
        decisions=result.decisions,
        blip2=result.blip2,
        routed=result.routed,
        cross_fitted=result.cross_fitted,
        images=len(validation),
        files=files,
        replaced=replaced,
        reused=reused,
        seconds=time.monotonic() - start,
    )


def _read_plain(place: Workspace) -> dict[str, list[Prediction]]:
    if not place.predictions("val").exists():
        raise MissingStepError(f"no predictions for val in {place.shown(place.run_folder)}", "medvqa predict")
    present = [fold for fold in ("val", "test") if place.predictions(fold).exists()]
    return {fold: read_predictions(place.predictions(fold)) for fold in present}


def _answered(dataset: Dataset, predictions: Iterable[Prediction], path: Path) -> Dataset:
    """`dataset` if the predictions answer just its images."""
    answered, there = {each.image_id for each in predictions}, {example.image_id for example in dataset.examples}
    if strays := sorted(answered ^ there):
        raise MedvqaError(
            f"{path} answers other images than there are now: {strays[0]} and {len(strays) - 1} more",
            remedy="`medvqa predict` makes it anew",
        )
    return dataset


def _expert(place: Workspace, training: Dataset, say: Callable[[str], None]) -> tuple[LinearExpert, bool]:
    """The linear expert for these training images, and whether it lay there already."""
    folder = place.run_folder / "experts" / LINEAR
    ids = "\n".join(example.image_id for example in training.examples)
    settings = settings_for({"data": training.fingerprint, "training": hashlib.sha256(ids.encode()).hexdigest()})
    if (saved := load_expert(folder, settings)) is not None:
        return saved, True
    say(f"fitting the linear expert to {len(training)} images")
    features = describe(load_pixels(training, SIZE, place.cache))
    expert = fit_linear_expert(features, [example.answers for example in training.examples])
    save_expert(folder, expert, settings)
    return expert, False


def _rank(expert: LinearExpert, dataset: Dataset, questions: Sequence[int], cache: Path) -> Ranked:
    ranked = expert.rank(describe(load_pixels(dataset, SIZE, cache)), questions)
    return {
        (example.image_id, question): candidates
        for question in questions
        for example, candidates in zip(dataset.examples, ranked[question], strict=True)
    }
