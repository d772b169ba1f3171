"""`medvqa route`: experts answer, and take over the questions that they answer better; also about further images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from imageclef_vqa import routing
from imageclef_vqa.artefacts import ChangedError, check_artefact
from imageclef_vqa.data import Dataset
from imageclef_vqa.editions import PAPER_QUESTIONS, QUESTIONS, Prediction
from imageclef_vqa.errors import UsageError
from imageclef_vqa.experts import classical
from imageclef_vqa.experts.answers import CLASSICAL, EXPERTS, RESNET34, Expert, runs_of_other_folds
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.workspace import Workspace

Policy = Literal["evidence", "paper"]
_PLAIN, _ROUTED, _DECISIONS = "plain", "routed", "routed/decisions"


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
        experts: names; by default `default_experts`.
        weights: an ImageNet ResNet34 to start from.
        folds: use evidence from the runs that validate the split's other folds, too.

    Raises:
        MissingStepError: there are no predictions, or an expert that is to be applied was not trained.
        ChangedError: predictions, or a network, are not the files that were finished, or have no record.
        MedvqaError: data or files are damaged or do not belong together.
    """
    at = Workspace.at(workspace, run)
    asked = questions_of(policy) if questions is None else questions
    start = None if weights is None else Path(weights)
    if unknown := [name for name in experts if name not in EXPERTS]:
        raise UsageError(f"--expert {unknown[0]}: use {' or '.join(EXPERTS)}")
    names = experts or default_experts(policy, start)
    for each in (at, *(runs_of_other_folds(at) if folds else ())):
        _check_predictions(each, notify)
        if CLASSICAL in names:
            classical.answer_images(each, train=train != "never", notify=notify)
        if RESNET34 in names:
            _answer_resnet34(each, asked, start, shared, epochs, device, seed, train != "never", notify)
    if train == "only":
        return None
    return routing.route(at, policy=policy, questions=asked, experts=names, folds=folds, seed=seed)


def questions_of(policy: Policy) -> Sequence[int]:
    """The questions that a policy routes by default."""
    return PAPER_QUESTIONS if policy == "paper" else [question.id for question in QUESTIONS]


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


def default_experts(policy: Policy, weights: Path | None) -> list[str]:
    """The classical expert; ResNet34, which takes minutes to train, only with the paper's policy or with weights."""
    if policy == "paper":
        return [RESNET34]
    return [CLASSICAL] if weights is None else [CLASSICAL, RESNET34]


def _check_predictions(workspace: Workspace, notify: Callable[[str], None]) -> None:
    """Refuse predictions that were changed or have no record; warn of those whose model or images have changed."""
    lineage = Lineage(workspace)
    for name in ("predictions/val", "predictions/test"):
        if (path := lineage.path(name)).exists():
            check_artefact(path, workspace.shown(path), f"`{lineage.command(name)}` makes it again")
            found = lineage.artefact(name)
            if found.status != "fresh":
                notify(f"warning: {workspace.shown(path)} is {found.status}: {', '.join(found.reasons)}")


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


class ImageRouter:
    """The stored decisions of a run with the experts that they name, for images that `route` has not seen."""

    def __init__(
        self,
        workspace: Workspace,
        decisions: routing.StoredDecisions,
        notify: Callable[[str], None] = lambda message: None,
        *,
        digest: str = "",
    ) -> None:
        self.digest = digest  # of the record of the decisions
        self._decisions = {each.question_id: each for each in decisions.decisions}
        self._load = cache(lambda name: _load_expert(workspace, name, notify))

    def route(self, plain: Sequence[Prediction], images: Dataset, pixels: Path | None) -> list[Prediction]:
        """BLIP-2's predictions, with the answers of the models that were chosen, for images that `images` has.

        Experts are loaded when a question needs them; `pixels` is the folder of the cache for their pixels.
        """
        decisions = [self._decisions[q] for q in {each.question_id for each in plain} & self._decisions.keys()]
        ranked = {name: self._load(name)(images, pixels) for name in routing.experts_of(decisions)}
        readable = {example.image_id for example in images.examples}
        routed = iter(routing.apply(decisions, [each for each in plain if each.image_id in readable], ranked))
        return [next(routed) if each.image_id in readable else each for each in plain]


def load_router(
    workspace: Workspace, answers: str | None = None, notify: Callable[[str], None] = lambda message: None
) -> ImageRouter | None:
    """What makes a run answer further images as its run file answers the test images; None: BLIP-2 answers them.

    Args:
        answers: "routed" or "plain"; by default, routed if the run was routed.

    Raises:
        UsageError: `answers` is something else, or the run was not routed.
        ChangedError: the decisions, or what they were made from, have changed.
    """
    if answers not in (None, _PLAIN, _ROUTED):
        raise UsageError(f"--answers {answers}: use {_ROUTED} or {_PLAIN}")
    lineage = Lineage(workspace)
    command = lineage.with_options("medvqa route")
    path = lineage.path(_DECISIONS)
    was_routed = path.exists() or any(lineage.path(f"routed/{fold}").exists() for fold in ("val", "test"))
    if answers == _PLAIN or (answers is None and not was_routed):
        return None
    if not was_routed:
        raise UsageError(f"--answers {_ROUTED}: run {workspace.run} was not routed", remedy=f"`{command}` routes it")
    found = lineage.artefact(_DECISIONS)
    if found.status != "fresh":
        raise ChangedError(
            f"{workspace.shown(path)} is {found.status}" + "".join(f": {reason}" for reason in found.reasons[:1]),
            remedy=f"`{command}` decides again; --answers {_PLAIN} asks BLIP-2 only",
        )
    digest = found.record.digest if found.record else ""
    return ImageRouter(workspace, routing.read_decisions(path), notify, digest=digest)


def route_images(
    workspace: Workspace,
    plain: Sequence[Prediction],
    images: Dataset,
    *,
    answers: str | None = None,
    notify: Callable[[str], None] = lambda message: None,
) -> list[Prediction]:
    """BLIP-2's predictions for a folder of images, routed as `load_router` says.

    Raises:
        UsageError, ChangedError: as `load_router`.
    """
    router = load_router(workspace, answers, notify)
    return list(plain) if router is None else router.route(plain, images, workspace.cache)


def _load_expert(workspace: Workspace, name: str, notify: Callable[[str], None]) -> Expert:
    if name == CLASSICAL:
        return classical.load_expert(workspace, notify)

    from imageclef_vqa.experts import resnet34

    return resnet34.load_expert(workspace)
