"""`medvqa predict`."""

from __future__ import annotations

from pathlib import Path

import typer

from imageclef_vqa.cli.options import DeviceOption, JsonOption, RunOption, WorkspaceOption


def predict(
    device: DeviceOption = "auto",
    run: RunOption = "main",
    workspace: WorkspaceOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Answer all questions about the validation fold and, where there is one, the test set."""
    from imageclef_vqa import runtime
    from imageclef_vqa.cli.console import note, print_json
    from imageclef_vqa.workspace import Workspace

    place = Workspace.at(workspace, run)
    runtime.prepare(device, seed=0)

    from imageclef_vqa.inference.predict import predict as answer_folds

    done = answer_folds(place, say=note)
    if as_json:
        files = {fold: str(path) for fold, path in done.files.items()}
        print_json({"files": files, "images": done.images, "untrained": done.untrained, "seconds": done.seconds})
        return
    for fold, path in done.files.items():
        typer.echo(f"{fold}: {done.images[fold]} images, all 18 questions → {place.shown(path)}")
    if done.untrained:
        questions = ", ".join(map(str, done.untrained))
        typer.echo(f"questions {questions} have no training answers: answered from the known values, marked untrained")
    typer.echo(f"{done.seconds:.0f} s; next: `medvqa route`")
