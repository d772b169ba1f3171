"""`medvqa route`: experts answer, and take over the questions that they answer better than BLIP-2.

routed/decisions.json          who answers which question (`StoredDecisions`)
routed/val.jsonl, test.jsonl   the predictions with the answers of those that were chosen

All have records.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imageclef_vqa import routing
from imageclef_vqa.artefacts import check_artefact, write_artefact
from imageclef_vqa.data import Dataset, Split, read_dataset, read_split
from imageclef_vqa.devices import prepare
from imageclef_vqa.editions import PAPER_QUESTIONS, QUESTIONS, Prediction, predictions_text, read_predictions
from imageclef_vqa.errors import MedvqaError, UsageError, shortened
from imageclef_vqa.experts import classical, features
from imageclef_vqa.experts.answers import (
    CLASSICAL,
    EXPERTS,
    FEATURES,
    RESNET34,
    RankedAnswers,
    fold_of_run,
    read_answers,
    runs_of_other_folds,
)
from imageclef_vqa.inputs import sha256
from imageclef_vqa.locks import run_writer
from imageclef_vqa.pipeline.edition import refuse_open
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.routing import HeldOut, Policy, Routed, StoredDecisions
from imageclef_vqa.workspace import Workspace


def route(
    workspace: str | Path = ".",
    *,
    policy: Policy = "evidence",
    questions: Sequence[int] | None = None,
    experts: Sequence[str] = (),
    weights: str | Path | None = None,
    shared: bool = False,
    epochs: int | None = None,
    folds: bool = False,
    train: Literal["if needed", "only", "never"] = "if needed",
    device: str = "auto",
    run: str = "main",
    seed: int = 0,
    notify: Callable[[str], None] = lambda message: None,
) -> Routed | None:
    """Fit the experts, let them answer, and route the run's predictions; None with `train="only"`.

    Args:
        policy: "evidence", whoever is better on validation images answers; "paper", the expert always.
        questions: ids; all by default, those of the paper with its policy.
        experts: names; by default `default_experts`.
        weights: an ImageNet ResNet34 to start from.
        folds: use evidence from the runs that validate the split's other folds, too.

    Raises:
        MissingStepError: there are no predictions, or an expert that is to be applied was not trained.
        ChangedError: predictions, or a network, are not the files that were finished, or have no record.
        MedvqaError: data or files are damaged or do not belong together.
    """
    at = Workspace.at(workspace, run)
    refuse_open(at, "route", "the organisers run one repository, which holds one model: package its own answers")
    at.check_development()
    asked = questions_of(policy) if questions is None else questions
    start = None if weights is None else Path(weights)
    if unknown := [name for name in experts if name not in EXPERTS]:
        raise UsageError(f"--expert {unknown[0]}: use {' or '.join(EXPERTS)}")
    names = experts or default_experts(policy, start)
    others = runs_of_other_folds(at) if folds else []
    if {FEATURES, RESNET34} & set(names):
        prepare(device, seed=seed)
    for each in (at, *others):
        _check_predictions(each, notify)
        if CLASSICAL in names:
            classical.answer_images(each, train=train != "never", notify=notify)
        if FEATURES in names:
            classical.answer_images(each, features.descriptor(), train=train != "never", notify=notify)
        if RESNET34 in names:
            from imageclef_vqa.experts import resnet34  # which imports Paddle

            if train != "never":
                resnet34.fit(each, asked, weights=start, shared=shared, epochs=epochs, seed=seed, notify=notify)
            resnet34.answer(each, notify=notify)
    if train == "only":
        return None
    return route_answers(at, others, policy=policy, questions=asked, experts=names, seed=seed)


def route_answers(
    workspace: Workspace,
    others: Sequence[Workspace] = (),
    *,
    policy: Policy = "evidence",
    questions: Sequence[int],
    experts: Sequence[str] = (CLASSICAL,),
    seed: int = 0,
) -> Routed:
    """Route the predictions of a run whose images the `experts` have answered; `others` validate other folds.

    Questions that no expert answers keep BLIP-2's answers.

    Raises:
        MissingStepError: there is no split, there are no predictions for it, or an expert has not answered.
        ChangedError: predictions or an expert's answers are not those that were finished, or have no record.
        MedvqaError: data or files are damaged or do not belong together.
    """
    start = time.monotonic()
    with run_writer(workspace.run_folder):
        dataset = read_dataset(workspace.development, cache=workspace.cache)
        split = read_split(workspace.split_file, dataset)
        inputs = {"development": dataset.fingerprint, "split": sha256(workspace.split_file)}
        inputs |= _check_inputs(workspace, experts, "val")
        for run in others:
            inputs |= _check_inputs(run, experts, "val", prefix=f"work/{run.run}/")
        held_out = [_held_out(run, dataset, split, experts) for run in (workspace, *others)]
        folds = {"val": _Fold(held_out[0].predictions, held_out[0].experts, inputs)}
        if workspace.predictions("test").exists():
            own = inputs | _check_inputs(workspace, experts, "test")
            plain = _test_predictions(workspace)
            folds["test"] = _Fold(plain, read_answers(workspace, experts, "test", plain), own)
        able = {question for ranked in held_out[0].experts.values() for _, question in ranked}
        considered = [question for question in questions if question in able]
        result = routing.decide(held_out, split.groups, considered, policy, seed, experts)
        stored = StoredDecisions(policy=policy, seed=seed, decisions=result.decisions)
        replaced = _write(workspace, stored, questions, folds)
    return Routed(
        policy=policy,
        experts=tuple(experts),
        decisions=result.decisions,
        blip2=result.blip2,
        routed=result.routed,
        cross_fitted=result.cross_fitted,
        images=sum(len({each.image_id for each in part.predictions}) for part in held_out),
        files={fold: workspace.routed(fold) for fold in folds},
        replaced=replaced,
        seconds=time.monotonic() - start,
    )


@dataclass(frozen=True)
class _Fold:
    """BLIP-2's predictions for the images of a fold, the experts' answers by name, and the digests of both."""

    predictions: Sequence[Prediction]
    experts: Mapping[str, RankedAnswers]
    inputs: Mapping[str, str]


def _write(
    workspace: Workspace, stored: StoredDecisions, questions: Sequence[int], folds: Mapping[str, _Fold]
) -> dict[str, int]:
    """Write the decisions, and the answers of each fold by them; returns how many answers changed, by fold."""
    models = {str(each.question_id): each.model for each in stored.decisions}
    options = {"policy": stored.policy, "seed": stored.seed, "questions": list(questions), "models": models}
    path, content = workspace.run_folder / "routed" / "decisions.json", stored.model_dump_json(indent=2) + "\n"
    made = write_artefact(path, content.encode(), command="route", inputs=folds["val"].inputs, options=options)
    replaced = {}
    for name, fold in folds.items():
        routed = routing.apply(stored.decisions, fold.predictions, fold.experts)
        replaced[name] = sum(prediction.replaced is not None for prediction in routed)
        inputs = {**fold.inputs, "routed/decisions": made.digest}
        content = predictions_text(routed)
        write_artefact(workspace.routed(name), content.encode(), command="route", inputs=inputs, options=options)
    return replaced


def _check_inputs(run: Workspace, experts: Sequence[str], fold: str, *, prefix: str = "") -> dict[str, str]:
    """The digests of a run's predictions and experts' answers that exist, by name after `prefix`, all of them checked.

    Raises:
        ChangedError: one is not the file that was finished, or has no record.
    """
    commands = {f"predictions/{fold}": run.typed("medvqa predict")}
    commands |= {f"experts/{name}/{fold}": run.typed(f"medvqa route --expert {name}") for name in experts}
    paths = {name: run.run_folder / f"{name}.jsonl" for name in commands}
    return {
        prefix + name: check_artefact(path, run.shown(path), f"`{commands[name]}` makes it again").digest
        for name, path in paths.items()
        if path.exists()
    }


def _held_out(run: Workspace, dataset: Dataset, split: Split, experts: Sequence[str]) -> HeldOut:
    """The validation images of a run with its predictions, the experts' answers and the gold answers."""
    gold = dataset.subset(split.val(fold_of_run(run, split))).gold()
    plain = read_predictions(run.predictions("val"))
    return HeldOut(plain, read_answers(run, experts, "val", plain), gold)


def _test_predictions(workspace: Workspace) -> list[Prediction]:
    """The run's predictions for the test images.

    Raises:
        MedvqaError: they are for other images.
    """
    predictions = read_predictions(workspace.predictions("test"))
    test = read_dataset(workspace.test, cache=workspace.cache, labelled=False)
    predicted, present = {each.image_id for each in predictions}, set(test.image_ids)
    if differing := sorted(predicted ^ present):
        raise MedvqaError(
            f"{workspace.predictions('test')} and {workspace.test} hold different images: "
            f"{', '.join(shortened(differing, 1))}",
            remedy=f"`{workspace.typed('medvqa predict')}` predicts the present images",
        )
    return predictions


def questions_of(policy: Policy) -> Sequence[int]:
    """The questions that a policy routes by default."""
    return PAPER_QUESTIONS if policy == "paper" else [question.id for question in QUESTIONS]


def default_experts(policy: Policy, weights: Path | None) -> list[str]:
    """The classical expert, also on an encoder's features where its package is installed.

    ResNet34, which takes minutes to train, only with the paper's policy or with weights.
    """
    if policy == "paper":
        return [RESNET34]
    return [CLASSICAL, *[FEATURES] * features.available(), *[RESNET34] * (weights is not None)]


def _check_predictions(workspace: Workspace, notify: Callable[[str], None]) -> None:
    """Refuse predictions that were changed or have no record; warn of those whose model or images have changed."""
    lineage = Lineage(workspace)
    for name in ("predictions/val", "predictions/test"):
        if (path := lineage.path(name)).exists():
            check_artefact(path, workspace.shown(path), f"`{lineage.command(name)}` makes it again")
            found = lineage.artefact(name)
            if found.status != "fresh":
                notify(f"warning: {workspace.shown(path)} is {found.state}")
