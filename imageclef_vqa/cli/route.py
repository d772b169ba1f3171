"""`medvqa route`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imageclef_vqa.cli.options import DeviceOption, JsonOption, RunOption, SeedOption, WorkspaceOption, choices
from imageclef_vqa.errors import UsageError

if TYPE_CHECKING:
    from imageclef_vqa.workspace import Workspace


Policy = Literal["evidence", "paper"]


def route(
    policy: Annotated[
        Policy,
        typer.Option(help="evidence: whichever is better on the validation images answers; paper: always the expert."),
    ] = "evidence",
    questions: Annotated[
        str | None,
        typer.Option(help="Ids of questions, as in 16,17,5, or all.", show_default="all; with --policy paper 16,17"),
    ] = None,
    expert: Annotated[
        list[str] | None,
        typer.Option(
            **choices("classical", "resnet34"),
            help="Expert to use; may be given twice.",
            show_default="classical, and resnet34 if the run has one; with --policy paper or --weights resnet34",
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="File or folder of an ImageNet ResNet34 (torchvision, timm) to start from.")
    ] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Train one ResNet34 for all questions, not one per question.")
    ] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of ResNet34.", show_default="those of its recipe")
    ] = None,
    folds: Annotated[
        bool, typer.Option("--folds", help="Use the runs that validate the other folds of the split as evidence, too.")
    ] = False,
    train_only: Annotated[bool, typer.Option("--train-only", help="Train the experts and stop.")] = False,
    apply_only: Annotated[bool, typer.Option("--apply-only", help="Use trained experts; train none.")] = False,
    device: DeviceOption = "auto",
    run: RunOption = "main",
    workspace: WorkspaceOption = Path("."),
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Replace answers where an expert, or its blend with BLIP-2, is better."""
    from imageclef_vqa import routing
    from imageclef_vqa.cli.console import note, print_json, print_table
    from imageclef_vqa.experts.answers import CLASSICAL, RESNET34, runs_of_other_folds
    from imageclef_vqa.experts.classical import answer_images
    from imageclef_vqa.workspace import Workspace

    if train_only and apply_only:
        raise UsageError("--train-only and --apply-only exclude each other")
    place = Workspace.at(workspace, run)
    default = ",".join(map(str, routing.PAPER_QUESTIONS)) if policy == "paper" else "all"
    asked = _ids(default if questions is None else questions)
    names = list(expert or _default_experts(place, policy, weights))
    for each in (place, *(runs_of_other_folds(place) if folds else ())):
        if CLASSICAL in names:
            answer_images(each, train=not apply_only, notify=note)
        if RESNET34 in names:
            _answer_resnet34(each, asked, weights, shared, epochs, device, seed, not apply_only)
    if train_only:
        print_json({"experts": names}) if as_json else typer.echo(f"trained: {', '.join(names)}; next: `medvqa route`")
        return
    done = routing.route(place, policy=policy, questions=asked, experts=names, folds=folds, seed=seed)
    if as_json:
        print_json(routing.as_json(done))
        return
    print_table(routing.routing_table(done))
    for line in routing.summary_lines(done):
        typer.echo(line)
    for fold, path in done.files.items():
        typer.echo(f"{fold}: {done.replaced[fold]} answers replaced → {place.shown(path)}")
    typer.echo("next: `medvqa score`")


def _default_experts(workspace: Workspace, policy: Policy, weights: Path | None) -> list[str]:
    if policy == "paper":
        return ["resnet34"]
    there = weights is not None or (workspace.expert("resnet34") / "val.jsonl").exists()
    return ["classical", "resnet34"] if there else ["classical"]


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
