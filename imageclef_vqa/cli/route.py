"""`medvqa route`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imageclef_vqa.cli.options import DeviceOption, JsonOption, RunOption, SeedOption, WorkspaceOption
from imageclef_vqa.errors import UsageError

if TYPE_CHECKING:
    from imageclef_vqa.workspace import Workspace


class Policy(str, Enum):
    evidence = "evidence"
    paper = "paper"


class Expert(str, Enum):
    classical = "classical"
    resnet34 = "resnet34"


def route(
    policy: Annotated[
        Policy, typer.Option(help="evidence: who is better on validation images answers; paper: the expert, always.")
    ] = Policy.evidence,
    questions: Annotated[
        str | None,
        typer.Option(help="Ids such as 16,17,5, or all.", show_default="all; with --policy paper 16,17"),
    ] = None,
    expert: Annotated[
        list[Expert] | None,
        typer.Option(
            help="Which experts; may be given twice.",
            show_default="classical, and resnet34 if the run has one; with --policy paper or --weights resnet34",
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="An ImageNet ResNet34 to start from (torchvision, timm), file or folder.")
    ] = None,
    shared: Annotated[bool, typer.Option("--shared", help="One ResNet34 for all questions, not one each.")] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of ResNet34.", show_default="the recipe's")] = None,
    folds: Annotated[
        bool, typer.Option("--folds", help="Evidence also from the runs that validate the split's other folds.")
    ] = False,
    train_only: Annotated[bool, typer.Option("--train-only", help="Train the experts and stop.")] = False,
    apply_only: Annotated[bool, typer.Option("--apply-only", help="Use the trained experts, train none.")] = False,
    device: DeviceOption = "auto",
    run: RunOption = "main",
    workspace: WorkspaceOption = Path("."),
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Let experts, or their blend with BLIP-2, take over the questions that they answer better."""
    from imageclef_vqa import routing
    from imageclef_vqa.cli.console import note, print_json, print_table
    from imageclef_vqa.experts.answers import CLASSICAL, RESNET34, runs_of_other_folds
    from imageclef_vqa.experts.classical import answer_images
    from imageclef_vqa.workspace import Workspace

    if train_only and apply_only:
        raise UsageError("--train-only and --apply-only exclude each other")
    place = Workspace.at(workspace, run)
    default = ",".join(map(str, routing.PAPER_QUESTIONS)) if policy is Policy.paper else "all"
    asked = _ids(default if questions is None else questions)
    names = [each.value for each in expert or _default_experts(place, policy, weights)]
    for each in (place, *(runs_of_other_folds(place) if folds else ())):
        if CLASSICAL in names:
            answer_images(each, train=not apply_only, notify=note)
        if RESNET34 in names:
            _answer_resnet34(each, asked, weights, shared, epochs, device, seed, not apply_only)
    if train_only:
        print_json({"experts": names}) if as_json else typer.echo(f"trained: {', '.join(names)}; next: `medvqa route`")
        return
    done = routing.route(place, policy=policy.value, questions=asked, experts=names, folds=folds, seed=seed)
    if as_json:
        print_json(routing.as_json(done))
        return
    print_table(routing.routing_table(done))
    for line in routing.summary_lines(done):
        typer.echo(line)
    for fold, path in done.files.items():
        typer.echo(f"{fold}: {done.replaced[fold]} answers replaced → {place.shown(path)}")
    typer.echo("next: `medvqa score`")


def _default_experts(workspace: Workspace, policy: Policy, weights: Path | None) -> list[Expert]:
    if policy is Policy.paper:
        return [Expert.resnet34]
    there = weights is not None or (workspace.expert("resnet34") / "val.jsonl").exists()
    return [Expert.classical, Expert.resnet34] if there else [Expert.classical]


def _answer_resnet34(
    workspace: Workspace,
    questions: list[int],
    weights: Path | None,
    shared: bool,
    epochs: int | None,
    device: str,
    seed: int,
    train: bool,
) -> None:
    """Train the ResNet34 experts of a run, or go on with them, and let them answer its images."""
    from imageclef_vqa import devices
    from imageclef_vqa.cli.console import note

    devices.prepare(device, seed=seed)

    from imageclef_vqa.experts.answering import answer_with_experts
    from imageclef_vqa.experts.training import train_experts

    if train:
        train_experts(workspace, questions, weights=weights, shared=shared, epochs=epochs, seed=seed, notify=note)
    answer_with_experts(workspace, notify=note)


def _ids(text: str) -> list[int]:
    from imageclef_vqa.editions import QUESTIONS

    known = {str(question.id): question.id for question in QUESTIONS}
    if text == "all":
        return list(known.values())
    ids = [part.strip() for part in text.split(",")]
    if unknown := [part for part in ids if part not in known]:
        raise UsageError(f"--questions {text}: {unknown[0]!r} is no question", remedy="ids from 0 to 17, or all")
    return sorted({known[part] for part in ids})
