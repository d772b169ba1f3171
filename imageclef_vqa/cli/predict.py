"""`medvqa predict`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from imageclef_vqa.cli.console import echo, note, print_json
from imageclef_vqa.cli.options import AnswersOption, DeviceOption, JsonOption, RunsOption, WorkspaceOption, choices
from imageclef_vqa.errors import counted, shortened
from imageclef_vqa.inputs import read_text
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.inference.predict import Predicted

_SHOWN = 5


FoldOption = Annotated[
    list[str] | None,
    typer.Option(
        **choices("val", "test", "train"),
        help="Images to answer; may be given several times.",
        show_default="val and test",
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        help="Name under which these answers are kept.",
        show_default="plain, or from the options, as in f1-consistent",
    ),
]
DecodeOption = Annotated[
    Literal["closed", "free"],
    typer.Option(help="closed: only answers that the competition accepts; free: any ten tokens, as in the paper."),
]
OptimiseOption = Annotated[
    Literal["exact", "f1"], typer.Option(help="Metric that the choice of several answers maximises.")
]
AugmentOption = Annotated[
    bool,
    typer.Option("--augment", help="Answer five versions of each image, of other brightness and contrast; average."),
]
ConsistentOption = Annotated[
    bool, typer.Option("--consistent", help="Apply rules between answers, learnt from training labels.")
]
OnBadImageOption = Annotated[
    Literal["stop", "prior"],
    typer.Option(help="For an image that cannot be read: stop, or give the most frequent training answers."),
]
DevicesOption = Annotated[
    str | None,
    typer.Option(
        help="Several devices, one process each: numbers as in 0,1, or names as in npu:0,cpu.",
        show_default="one; on the CPU as many processes as save time",
    ),
]


_RULES = {"likeliest": "likeliest sentence", "expected": "sentence with the best expected score"}


def predict(
    fold: FoldOption = None,
    images: Annotated[Path | None, typer.Option(help="Folder of images to answer instead of folds.")] = None,
    ids: Annotated[Path | None, typer.Option(help="File with the ids of those images to answer, one per line.")] = None,
    name: NameOption = None,
    decode: DecodeOption = "closed",
    optimise: OptimiseOption = "exact",
    augment: AugmentOption = False,
    consistent: ConsistentOption = False,
    on_bad_image: OnBadImageOption = "stop",
    answers: AnswersOption = None,
    device: DeviceOption = "auto",
    devices: DevicesOption = None,
    run: RunsOption = None,
    workspace: WorkspaceOption = Path(),
    out: Annotated[Path | None, typer.Option(help="File for the answers to --images; -: print them.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Answer all questions about the validation fold and, where there is one, the test set."""
    import imageclef_vqa as vqa

    with TemporaryDirectory() as folder:
        printed = Path(folder, "answers.jsonl") if out == Path("-") else None
        done = vqa.predict(
            workspace,
            folds=fold or (),
            name=name,
            images=images,
            ids=ids,
            out=printed or out,
            decode=decode,
            optimise=optimise,
            augment=augment,
            consistent=consistent,
            on_bad_image=on_bad_image,
            answers=answers,
            device=device,
            devices=devices,
            run=run or ["main"],
            notify=note,
        )
        if printed is not None:
            echo(read_text(printed), nl=False, verbatim=True)
            return
    if as_json:
        print_json(_as_json(done))
        return
    _print(done, Workspace.at(workspace, done.run), into_workspace=images is None)


def _as_json(done: Predicted) -> dict[str, Any]:
    return {
        "run": done.run,
        "name": done.name,
        "files": {name: str(path) for name, path in done.files.items()},
        "images": done.images,
        "untrained": done.untrained,
        "answers": done.answers,
        "unreadable": done.unreadable,
        "passed_over": done.passed_over,
        "calibration": done.calibration.model_dump() if done.calibration else None,
        "rules": [str(rule) for rule in done.rules],
        "repaired": done.repaired,
        "empty": done.empty,
        "seconds": done.seconds,
    }


def _print(done: Predicted, workspace: Workspace, *, into_workspace: bool) -> None:
    for rule in done.rules:
        echo(f"rule: {rule}")
    if done.rules:
        echo(f"{counted(done.repaired, 'answer')} changed to keep these {len(done.rules)} rules")
    for name, path in done.files.items():
        echo(f"{name}: {counted(done.images[name], 'image')}, all questions → {workspace.shown(path)}")
    if done.empty:
        refusing = workspace.typed("medvqa package")
        echo(f"{done.empty} answers said nothing and are written as '(no answer)', which `{refusing}` refuses")
    for fault in done.unreadable.values():
        echo(f"answered by the training prior: {fault}")
    if done.passed_over:
        names = ", ".join(shortened(done.passed_over, _SHOWN))
        echo(f"not answered, because pictures are .jpg or .png: {names}")
    if done.untrained:
        questions = ", ".join(map(str, done.untrained))
        echo(f"questions {questions} have no training answers: answered from the known values, marked untrained")
    if done.calibration:
        before, after = done.calibration.error
        echo(f"temperature {done.calibration.temperature:.2f}: calibration error {before:.3f} → {after:.3f}")
        for choice, metrics in done.calibration.metrics.items():
            figures = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
            used = " (used)" if choice == done.calibration.rule else ""
            echo(f"validation, {_RULES[choice]}: {figures}{used}")
    from imageclef_vqa.pipeline.lineage import Lineage

    command = "medvqa route" if done.name is None else f"medvqa score --answers {done.name}"
    if done.calibration is not None and done.calibration.rule is not None and done.name is None:
        command = "medvqa score"  # open questions are not routed
    hint = f"; next: `{Lineage(workspace).with_options(command)}`" if into_workspace else ""
    echo(f"{done.seconds:.0f} s{hint}")
