"""`medvqa route`: experts answer, and take over the questions that they answer better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from imageclef_vqa import routing
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.errors import UsageError
from imageclef_vqa.experts.answers import CLASSICAL, RESNET34, runs_of_other_folds
from imageclef_vqa.experts.classical import answer_images
from imageclef_vqa.workspace import Workspace

Policy = Literal["evidence", "paper"]


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
) -> routing.Routed | None:
    """Fit the experts, let them answer, and route the run's predictions; None with `train="only"`.

    Args:
        policy: "evidence", whoever is better on validation images answers; "paper", the expert always.
        questions: ids; all by default, those of the paper with its policy.
        experts: names; by default the classical one, and ResNet34 where the run has one or `weights` are given.
        weights: an ImageNet ResNet34 to start from.
        folds: use evidence from the runs that validate the split's other folds, too.

    Raises:
        MissingStepError: there are no predictions, or an expert that is to be applied was not trained.
        MedvqaError: data or files are damaged or do not belong together.
    """
    at = Workspace.at(workspace, run)
    asked = questions_of(policy) if questions is None else questions
    start = None if weights is None else Path(weights)
    if unknown := [name for name in experts if name not in (CLASSICAL, RESNET34)]:
        raise UsageError(f"--expert {unknown[0]}: use {CLASSICAL} or {RESNET34}")
    names = experts or default_experts(at, policy, start)
    for each in (at, *(runs_of_other_folds(at) if folds else ())):
        if CLASSICAL in names:
            answer_images(each, train=train != "never", notify=notify)
        if RESNET34 in names:
            _answer_resnet34(each, asked, start, shared, epochs, device, seed, train != "never", notify)
    if train == "only":
        return None
    return routing.route(at, policy=policy, questions=asked, experts=names, folds=folds, seed=seed)


def questions_of(policy: Policy) -> Sequence[int]:
    """The questions that a policy routes by default."""
    return routing.PAPER_QUESTIONS if policy == "paper" else [question.id for question in QUESTIONS]


def parse_questions(text: str) -> list[int]:
    """Question ids in `text`, separated by commas, or `all`.

    Raises:
        UsageError: one of them is no question.
    """
    known = {str(question.id): question.id for question in QUESTIONS}
    if text == "all":
        return list(known.values())
    ids = [part.strip() for part in text.split(",")]
    if unknown := [part for part in ids if part not in known]:
        last = QUESTIONS[-1].id
        raise UsageError(f"--questions {text}: {unknown[0]!r} is no question", remedy=f"ids from 0 to {last}, or all")
    return sorted({known[part] for part in ids})


def default_experts(workspace: Workspace, policy: Policy, weights: Path | None) -> list[str]:
    if policy == "paper":
        return [RESNET34]
    there = weights is not None or (workspace.expert(RESNET34) / "val.jsonl").exists()
    return [CLASSICAL, RESNET34] if there else [CLASSICAL]


def _answer_resnet34(
    workspace: Workspace,
    questions: Sequence[int],
    weights: Path | None,
    shared: bool,
    epochs: int | None,
    device: str,
    seed: int,
    train: bool,
    notify: Callable[[str], None],
) -> None:
    """Train the ResNet34 experts of a run, or go on with them, and let them answer its images."""
    from imageclef_vqa.devices import prepare

    prepare(device, seed=seed)

    from imageclef_vqa.experts import resnet34

    if train:
        resnet34.fit(workspace, questions, weights=weights, shared=shared, epochs=epochs, seed=seed, notify=notify)
    resnet34.answer(workspace, notify=notify)
