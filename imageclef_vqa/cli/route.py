"""`medvqa route`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imageclef_vqa.cli.console import echo, note, print_json, print_table
from imageclef_vqa.cli.options import DeviceOption, JsonOption, RunOption, SeedOption, WorkspaceOption, choices
from imageclef_vqa.editions import PAPER_QUESTIONS, QUESTIONS
from imageclef_vqa.errors import UsageError, counted
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.routing import Routed

Policy = Literal["evidence", "paper"]
_PAPER = ",".join(map(str, PAPER_QUESTIONS))


PolicyOption = Annotated[
    Policy,
    typer.Option(help="evidence: whichever is better on the validation images answers; paper: always the expert."),
]
QuestionsOption = Annotated[
    str | None,
    typer.Option(help=f"Ids of questions, as in {_PAPER}, or all.", show_default=f"all; --policy paper: {_PAPER}"),
]
ExpertOption = Annotated[
    list[str] | None,
    typer.Option(
        **choices("classical", "features", "resnet34"),
        help="Expert to use; may be given twice.",
        show_default="classical and features; with --weights also resnet34; with --policy paper resnet34",
    ),
]
WeightsOption = Annotated[
    Path | None, typer.Option(help="File or folder of an ImageNet ResNet34 (torchvision, timm) to start from.")
]
SharedOption = Annotated[
    bool, typer.Option("--shared", help="Train one ResNet34 for all questions, not one per question.")
]
EpochsOption = Annotated[
    int | None, typer.Option(min=1, help="Epochs of ResNet34.", show_default="those of its recipe")
]
FoldsOption = Annotated[
    bool, typer.Option("--folds", help="Use the runs that validate the other folds of the split as evidence, too.")
]


def route(
    policy: PolicyOption = "evidence",
    questions: QuestionsOption = None,
    expert: ExpertOption = None,
    weights: WeightsOption = None,
    shared: SharedOption = False,
    epochs: EpochsOption = None,
    folds: FoldsOption = False,
    train_only: Annotated[bool, typer.Option("--train-only", help="Train the experts and stop.")] = False,
    apply_only: Annotated[bool, typer.Option("--apply-only", help="Use trained experts; train none.")] = False,
    device: DeviceOption = "auto",
    run: RunOption = "main",
    workspace: WorkspaceOption = Path("."),
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Replace answers where an expert, or its blend with BLIP-2, is better."""
    import imageclef_vqa as vqa
    from imageclef_vqa import routing
    from imageclef_vqa.pipeline.lineage import Lineage
    from imageclef_vqa.pipeline.route import default_experts

    if train_only and apply_only:
        raise UsageError("--train-only and --apply-only exclude each other")
    at = Workspace.at(workspace, run)
    lineage = Lineage(at)
    names = expert or default_experts(policy, weights)
    done = vqa.route(
        workspace,
        policy=policy,
        questions=None if questions is None else _parse_questions(questions),
        experts=names,
        weights=weights,
        shared=shared,
        epochs=epochs,
        folds=folds,
        train="only" if train_only else "never" if apply_only else "if needed",
        device=device,
        run=run,
        seed=seed,
        notify=note,
    )
    if done is None:
        following = lineage.with_options("medvqa route")
        print_json({"experts": names}) if as_json else echo(f"trained: {', '.join(names)}; next: `{following}`")
    elif as_json:
        print_json(routing.as_json(done))
    else:
        _print(done, at, lineage.with_options("medvqa score"))


def _parse_questions(text: str) -> list[int]:
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


def _print(done: Routed, workspace: Workspace, following: str) -> None:
    from imageclef_vqa import routing

    print_table(routing.routing_table(done))
    for line in routing.summary_lines(done):
        echo(line)
    for fold, path in done.files.items():
        echo(f"{fold}: {counted(done.replaced[fold], 'answer')} replaced → {workspace.shown(path)}")
    echo(f"next: `{following}`")
