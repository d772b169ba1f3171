"""`medvqa package`: the answers to the test images, checked and written as a run that can be submitted."""

from __future__ import annotations

from pathlib import Path

from imageclef_vqa.artefacts import read_record
from imageclef_vqa.editions import Edition
from imageclef_vqa.errors import UsageError
from imageclef_vqa.files import check_output
from imageclef_vqa.pipeline.edition import edition_of
from imageclef_vqa.pipeline.package_closed import package_closed
from imageclef_vqa.pipeline.package_open import package_open
from imageclef_vqa.pipeline.prepared_run import Package
from imageclef_vqa.submission import Form, team_zip
from imageclef_vqa.workspace import Workspace


def package(
    out: str | Path | None = None,
    *,
    team: str | None = None,
    answers: str | None = None,
    predictions: str | Path | None = None,
    answer_form: Form = "list",
    edition: str | None = None,
    force: bool = False,
    write: bool = True,
    workspace: str | Path = ".",
    run: str = "main",
) -> Package:
    """Check the answers to the test images and write them as a run, with its manifest; or only check them.

    Raises:
        UsageError: `out` and `team` ask for different names, or the edition takes no such file.
        MissingStepError: there are no predictions.
        MedvqaError: checks found errors, and `force` is false.
    """
    given = None if predictions is None else Path(predictions)
    at = _run_of(Workspace.at(workspace, run), given)
    spoken = edition_of(at, edition)
    target = _target(at, None if out is None else Path(out), team, spoken)
    check_output(target)
    if spoken.open:
        if given is not None or answer_form != "list":
            raise UsageError("open questions: --predictions and --answer-form are not supported")
        prepared = package_open(at, spoken, target, answers)
    else:
        prepared = package_closed(at, spoken, target, given, answer_form, {"team": team, "answers": answers})
    if write:
        prepared.write(force=force)
    return prepared


def _target(workspace: Workspace, out: Path | None, team: str | None, edition: Edition) -> Path:
    if out is not None and out.suffix not in edition.run_formats:
        raise UsageError(f"--out {out}: a run of {edition.name} ends in {' or '.join(edition.run_formats)}")
    if team is None:
        return out or workspace.root / edition.run_file
    name = team_zip(team, edition)
    if out is not None and out.name != name:
        raise UsageError(f"--team {team} writes {name}, --out asks for {out.name}: leave one of them out")
    return out or workspace.root / name


def _run_of(workspace: Workspace, predictions: Path | None) -> Workspace:
    """The workspace at the run that `predictions` lie in, or that their record names, whatever `--run` says."""
    if predictions is not None and predictions.resolve().is_relative_to(workspace.work.resolve()):
        name = predictions.resolve().relative_to(workspace.work.resolve()).parts[0]
        if name in workspace.runs():
            return Workspace.at(workspace.root, name)
    record = None if predictions is None else read_record(predictions)
    names = [input_.split("/")[1] for input_ in record.inputs if input_.startswith("work/")] if record else []
    runs = list(dict.fromkeys(names))
    return Workspace.at(workspace.root, runs[0]) if len(runs) == 1 else workspace
