"""`medvqa package`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imageclef_vqa.cli.options import JsonOption, RunOption, WorkspaceOption
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.submission import Finding


def package(
    out: Annotated[Path | None, typer.Option(help="The run file: .csv, .json or .zip.", show_default="run.csv")] = None,
    team: Annotated[str | None, typer.Option(help="Your team: names the zip as the organisers ask.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Predictions to package.", show_default="the run's newest, routed or plain")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write the run although checks found errors.")] = False,
    workspace: WorkspaceOption = Path("."),
    run: RunOption = "main",
    as_json: JsonOption = False,
) -> None:
    """Check the answers to the test images and write them as a run that can be submitted."""
    from imageclef_vqa.cli.console import print_json
    from imageclef_vqa.cli.gather import answers_of, read_development, read_scores, training_vocabulary
    from imageclef_vqa.data.reading import read_dataset
    from imageclef_vqa.files import write_json
    from imageclef_vqa.submission import Run, check_run, hashes, make_manifest, manifest_path, write_run
    from imageclef_vqa.task import read_predictions

    place = Workspace.at(workspace, run)
    target = _target(place, out, team)
    fold = "test" if place.has_test else "val"
    source = predictions or place.newest_predictions(fold)
    answers = answers_of(read_predictions(source))
    development = read_development(place)
    fingerprints = {"development": development.dataset.fingerprint}
    image_ids = list(development.split.val(development.fold))
    if place.has_test:
        test = read_dataset(place.test, cache=place.cache, labelled=False)
        image_ids, fingerprints["test"] = [example.image_id for example in test.examples], test.fingerprint
    findings = [
        *_about_the_file(place, target),
        *check_run(Run(answers, image_ids, training_vocabulary(place, development))),
    ]
    errors = sum(finding.severity == "error" for finding in findings)
    written = force or not errors
    if written:
        write_run(target, answers, image_ids)
        manifest = make_manifest(
            target,
            images=len({image_id for image_id, _ in answers}),
            answers=len(answers),
            fold=fold,
            command=_command(target, team, predictions, force, run),
            seed=development.split.seed,
            data=fingerprints,
            inputs=hashes([source, place.split_file, *sorted(place.stage(2).glob("*"))], place.root),
            scores=read_scores(place, source),
            findings=findings,
        )
        write_json(manifest_path(target), manifest)
    if as_json:
        content = {
            "run": place.shown(target) if written else None,
            "manifest": place.shown(manifest_path(target)) if written else None,
            "fold": fold,
            "images": len(image_ids),
            "answers": len(answers),
            "findings": [finding.model_dump() for finding in findings],
        }
        print_json(content)
    else:
        for finding in findings:
            typer.secho(f"{finding.severity}: ", fg="red" if finding.severity == "error" else "yellow", nl=False)
            typer.echo(finding)
    if not written:
        raise MedvqaError(
            f"{place.shown(target)} was not written: {errors} error{'s' * (errors > 1)}",
            remedy="mend them, or write it all the same with --force",
        )
    if not as_json:
        typer.echo(f"{place.shown(target)}: {len(answers):,} answers to {len(image_ids):,} {_IMAGES[fold]}, read back.")
        typer.echo(f"{place.shown(manifest_path(target))} says what it was made of.")
        typer.echo(_NEXT[fold])


_IMAGES = {"test": "test images", "val": "validation images"}
_NEXT = {
    "test": "Next: keep both, and submit the run (the organisers take it as `medvqa package --team NAME` writes it).",
    "val": "Next: put the test images into data/test/images, then `medvqa predict` and `medvqa package` again.",
}


def _target(place: Workspace, out: Path | None, team: str | None) -> Path:
    from imageclef_vqa.submission import team_zip

    if team is None:
        return out or place.root / "run.csv"
    name = team_zip(team)
    if out is not None and out.name != name:
        raise UsageError(f"--team {team} writes {name}, --out asks for {out.name}: leave one of them out")
    return out or place.root / name


def _about_the_file(place: Workspace, target: Path) -> list[Finding]:
    from imageclef_vqa.submission import Finding, is_team_zip

    findings = []
    if not place.has_test:
        findings.append(
            Finding(
                severity="warning",
                check="no-test",
                count=1,
                message="THIS IS NO SUBMISSION: there are no test images, these are the validation images' answers",
                remedy=f"put the test images into {place.shown(place.test / 'images')}",
            )
        )
    if target.suffix == ".zip" and not is_team_zip(target):
        findings.append(
            Finding(
                severity="warning",
                check="zip-name",
                count=1,
                message=f"the organisers ask for <team>_clef2023_medvqa.zip, not {target.name}",
                remedy="leave --out away and give --team",
            )
        )
    return findings


def _command(target: Path, team: str | None, predictions: Path | None, force: bool, run: str) -> str:
    """What was typed, without the machine's folders."""
    words = ["medvqa", "package", "--out", target.name, "--run", run]
    if team is not None:
        words += ["--team", team]
    if predictions is not None:
        words += ["--predictions", predictions.name]
    return shlex.join(words + ["--force"] * force)
