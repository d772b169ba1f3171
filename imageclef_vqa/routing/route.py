"""`medvqa route`: compare the experts' answers with BLIP-2's on validation images and let the better ones answer.

routed/decisions.json          who answers which question (`StoredDecisions`)
routed/val.jsonl, test.jsonl   the predictions with the answers of those that were chosen

All have records.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imageclef_vqa.artefacts import check_artefact, write_artefact
from imageclef_vqa.data import Dataset, Split, read_dataset, read_split
from imageclef_vqa.editions import Prediction, predictions_text, read_predictions
from imageclef_vqa.errors import MedvqaError, shortened
from imageclef_vqa.experts.answers import CLASSICAL, fold_of_run, read_answers, runs_of_other_folds
from imageclef_vqa.files import run_writer, sha256
from imageclef_vqa.routing.apply import apply
from imageclef_vqa.routing.decisions import HeldOut, Policy, StoredDecisions, decide
from imageclef_vqa.routing.evidence import Decision
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class Routed:
    """The decisions, and the files that were written.

    `blip2` and `routed` are mean accuracies on the `images` held-out images, over the questions with gold answers.
    These images also decided; `cross_fitted` is the accuracy where other images decide. None without gold answers.
    `replaced` counts the answers that changed, by fold.
    """

    policy: Policy
    experts: tuple[str, ...]
    decisions: tuple[Decision, ...]
    blip2: float | None
    routed: float | None
    cross_fitted: float | None
    images: int
    files: dict[str, Path]
    replaced: dict[str, int]
    seconds: float


def route(
    workspace: Workspace,
    *,
    policy: Policy = "evidence",
    questions: Sequence[int],
    experts: Sequence[str] = (CLASSICAL,),
    folds: bool = False,
    seed: int = 0,
) -> Routed:
    """Route the predictions of a run for the validation images and, if there are any, the test images.

    The `experts` have answered these images before. With `folds`, runs that validate other folds of the split add to
    the evidence. Questions that no expert answers keep BLIP-2's answers.

    Raises:
        MissingStepError: there is no split, there are no predictions for it, or an expert has not answered.
        ChangedError: predictions or an expert's answers are not those that were finished, or have no record.
        MedvqaError: data or files are damaged or do not belong together.
    """
    start = time.monotonic()
    others = runs_of_other_folds(workspace) if folds else []
    with run_writer(workspace.run_folder):
        dataset = read_dataset(workspace.development, cache=workspace.cache)
        split = read_split(workspace.split_file, dataset)
        inputs = {"development": dataset.fingerprint, "split": sha256(workspace.split_file)}
        inputs |= _check_inputs(workspace, experts, "val")
        for run in others:
            inputs |= _check_inputs(run, experts, "val", prefix=f"work/{run.run}/")
        held_out = [_held_out(run, dataset, split, experts) for run in (workspace, *others)]
        answered = {"val": (held_out[0].predictions, held_out[0].experts)}
        of_fold = {"val": inputs}
        if workspace.predictions("test").exists():
            of_fold["test"] = inputs | _check_inputs(workspace, experts, "test")
            plain = _test_predictions(workspace)
            answered["test"] = (plain, read_answers(workspace, experts, "test", plain))
        able = {question for ranked in held_out[0].experts.values() for _, question in ranked}
        considered = [question for question in questions if question in able]
        result = decide(held_out, split.groups, considered, policy, seed, experts)
        stored = StoredDecisions(policy=policy, seed=seed, decisions=result.decisions)
        options = _options(stored, questions)
        content = stored.model_dump_json(indent=2).encode() + b"\n"
        made = write_artefact(decisions_file(workspace), content, command="route", inputs=inputs, options=options)
        files, replaced = {}, {}
        for fold, (predictions, ranked) in answered.items():
            routed = apply(result.decisions, predictions, ranked)
            files[fold] = workspace.routed(fold)
            replaced[fold] = sum(prediction.replaced is not None for prediction in routed)
            own, content = of_fold[fold] | {"routed/decisions": made.digest}, predictions_text(routed).encode()
            write_artefact(files[fold], content, command="route", inputs=own, options=options)
    return Routed(
        policy=policy,
        experts=tuple(experts),
        decisions=result.decisions,
        blip2=result.blip2,
        routed=result.routed,
        cross_fitted=result.cross_fitted,
        images=sum(len({each.image_id for each in part.predictions}) for part in held_out),
        files=files,
        replaced=replaced,
        seconds=time.monotonic() - start,
    )


def decisions_file(workspace: Workspace) -> Path:
    """The file of the decisions of a run."""
    return workspace.run_folder / "routed" / "decisions.json"


def _options(stored: StoredDecisions, questions: Sequence[int]) -> dict[str, Any]:
    """What routed answers depend on beside their inputs, as JSON values, and who answers which question."""
    models = {str(each.question_id): each.model for each in stored.decisions}
    return {"policy": stored.policy, "seed": stored.seed, "questions": list(questions), "models": models}


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
    predicted, present = {each.image_id for each in predictions}, {example.image_id for example in test.examples}
    if differing := sorted(predicted ^ present):
        raise MedvqaError(
            f"{workspace.predictions('test')} and {workspace.test} hold different images: "
            f"{', '.join(shortened(differing, 1))}",
            remedy=f"`{workspace.typed('medvqa predict')}` predicts the present images",
        )
    return predictions
