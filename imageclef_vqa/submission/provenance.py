"""Whether a run is what its manifest describes, is named as asked, and was made of what its model says now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from imageclef_vqa.editions import Edition
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.files import sha256
from imageclef_vqa.submission.findings import Finding, finding
from imageclef_vqa.submission.manifest import is_beneath, manifest_path, read_manifest

_OF = ("predictions", "routed")  # folders of predictions


def check_manifest(run: Path, root: Path) -> list[Finding] | None:
    """What the manifest beside `run` says of it, and of its predictions beneath `root`; None if there is none."""
    try:
        manifest = read_manifest(run)
    except MedvqaError:
        return None
    if manifest.run.get("sha256") != sha256(run):
        message = f"the file is not the one that {manifest_path(run).name} describes: it was changed since"
        remedy = "`medvqa package` writes it anew; `medvqa package --verify` tells what else changed"
        return [finding("error", "altered", [run.name], message, remedy)]
    made_of = {name: root / name for name in manifest.inputs if is_beneath(name)}
    predictions = {name: path for name, path in made_of.items() if path.suffix == ".jsonl" and path.parent.name in _OF}
    models = [path for path in made_of.values() if path.suffix == ".safetensors" and path.parent.name == "stage2"]
    findings = []
    for name, path in predictions.items():
        if path.is_file() and sha256(path) != manifest.inputs[name]:
            message = f"{name} was made anew since the run was written"
            findings.append(finding("warning", "stale", [name], message, "`medvqa package` writes what it says now"))
        else:
            findings += [found for model in models[:1] for found in check_age(path, model, name)]
    return findings


def check_age(predictions: Path, model: Path, name: str) -> Iterator[Finding]:
    """Predictions that were written before the model was trained."""
    if is_outdated(predictions, model):
        yield outdated_predictions(name)


def outdated_predictions(name: str) -> Finding:
    """The finding that predictions called `name` are older than their model."""
    message = f"{name} is older than the model"
    return finding("warning", "stale", [name], message, "`medvqa predict` answers with the new model")


def is_outdated(predictions: Path, model: Path) -> bool:
    """Whether `predictions` were written before `model` was; not where either is missing."""
    return predictions.exists() and model.exists() and predictions.stat().st_mtime < model.stat().st_mtime


def check_name(run: Path, edition: Edition) -> Iterator[Finding]:
    """A zip that is not named as the organisers ask; an error where it was evidently meant to be."""
    if run.suffix.lower() != ".zip" or edition.team_zip is None or edition.team(run.name):
        return
    message = f"the organisers ask for {edition.team_zip.format(team='<team>')}, not {run.name}"
    meant = any(part in run.name.casefold() for part in ("clef", "medvqa"))
    yield finding(
        "error" if meant else "warning", "zip-name", [run.name], message, "`medvqa package --team NAME` names it"
    )
