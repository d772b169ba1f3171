"""`medvqa predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from imageclef_vqa.cli.options import DeviceOption, JsonOption, RunsOption, WorkspaceOption, choices

_SHOWN = 5


def predict(
    fold: Annotated[
        list[str] | None,
        typer.Option(
            **choices("val", "test", "train"),
            help="Images to answer; may be given several times.",
            show_default="val and test",
        ),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of images to answer instead of folds.")] = None,
    ids: Annotated[Path | None, typer.Option(help="File with the ids of those images to answer, one per line.")] = None,
    decode: Annotated[
        Literal["closed", "free"],
        typer.Option(help="closed: only answers that the competition accepts; free: any ten tokens, as in the paper."),
    ] = "closed",
    optimise: Annotated[
        Literal["exact", "f1"], typer.Option(help="Metric that the choice of several answers maximises.")
    ] = "exact",
    augment: Annotated[
        bool, typer.Option("--augment", help="Average over views of an image that keep its answers true.")
    ] = False,
    consistent: Annotated[
        bool, typer.Option("--consistent", help="Apply rules between answers, learnt from training labels.")
    ] = False,
    on_bad_image: Annotated[
        Literal["stop", "prior"],
        typer.Option(help="For an image that cannot be read: stop, or give the most frequent training answers."),
    ] = "stop",
    device: DeviceOption = "auto",
    devices: Annotated[
        str | None,
        typer.Option(
            help="Several devices, one process each: numbers as in 0,1, or names as in npu:0,cpu.",
            show_default="one; on the CPU as many processes as save time",
        ),
    ] = None,
    run: RunsOption = None,
    workspace: WorkspaceOption = Path(),
    out: Annotated[Path | None, typer.Option(help="File for the answers to --images.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Answer all questions about the validation fold and, where there is one, the test set."""
    from imageclef_vqa.cli.console import note, print_json
    from imageclef_vqa.devices import parse_devices, prepare
    from imageclef_vqa.editions import QUESTIONS
    from imageclef_vqa.errors import UsageError, shortened
    from imageclef_vqa.inference.sharding import device_names
    from imageclef_vqa.workspace import Workspace

    places = [Workspace.at(workspace, name) for name in run or ["main"]]
    if (images is None) != (out is None) or (ids and images is None) or (images and fold):
        raise UsageError("a folder of images is answered by --images FOLDER --out FILE, with --ids FILE but no --fold")
    several = [] if devices is None else parse_devices(devices, device)
    on = prepare(device, seed=0)

    from imageclef_vqa.inference.predict import PredictOptions, predict_images
    from imageclef_vqa.inference.predict import predict as answer_folds

    manner = PredictOptions(
        decode=decode,
        optimise=optimise,
        augment=augment,
        consistent=consistent,
        on_bad_image=on_bad_image,
    )
    manner.check(len(places))
    names = device_names(on, several)
    if images is not None and out is not None:
        done = predict_images(places, images, ids, out, options=manner, devices=names, notify=note)
    else:
        done = answer_folds(places, folds=fold or (), options=manner, devices=names, notify=note)
    if as_json:
        files = {name: str(path) for name, path in done.files.items()}
        print_json(
            {
                "run": done.run,
                "files": files,
                "images": done.images,
                "untrained": done.untrained,
                "unreadable": done.unreadable,
                "passed_over": done.passed_over,
                "calibration": done.calibration.model_dump() if done.calibration else None,
                "rules": [str(rule) for rule in done.rules],
                "repaired": done.repaired,
                "empty": done.empty,
                "seconds": done.seconds,
            }
        )
        return
    for rule in done.rules:
        typer.echo(f"rule: {rule}")
    if done.rules:
        typer.echo(f"{done.repaired} answers changed to keep these {len(done.rules)} rules")
    for name, path in done.files.items():
        typer.echo(f"{name}: {done.images[name]} images, all {len(QUESTIONS)} questions → {places[0].shown(path)}")
    if done.empty:
        typer.echo(f"{done.empty} answers said nothing and stand as '(no answer)', which `medvqa package` refuses")
    for fault in done.unreadable.values():
        typer.echo(f"answered by the training prior: {fault}")
    if done.passed_over:
        typer.echo(f"not answered, for pictures are .jpg and .png: {', '.join(shortened(done.passed_over, _SHOWN))}")
    if done.untrained:
        questions = ", ".join(map(str, done.untrained))
        typer.echo(f"questions {questions} have no training answers: answered from the known values, marked untrained")
    if done.calibration:
        before, after = done.calibration.error
        typer.echo(f"temperature {done.calibration.temperature:.2f}: calibration error {before:.3f} → {after:.3f}")
    of_run = "" if done.run == "main" else f" --run {done.run}"
    typer.echo(f"{done.seconds:.0f} s" + ("" if images else f"; next: `medvqa route{of_run}`"))
