"""`medvqa package --verify`: a run and all it was made of beside its manifest."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import typer

from imageclef_vqa.cli.console import print_json
from imageclef_vqa.data.reading import read_dataset
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.submission import Manifest, compare_manifest, list_hash, other_versions, read_manifest
from imageclef_vqa.workspace import Workspace


def compare_with_manifest(workspace: Workspace, run: Path, predictions: Path | None, as_json: bool) -> None:
    """Say of all that a manifest names whether it is still the same.

    Raises:
        MedvqaError: something is not.
    """
    manifest = read_manifest(run)
    fingerprints = {}
    for name, folder in (("development", workspace.development), ("test", workspace.test)):
        if name in manifest.data and (folder / "images").is_dir():
            # Without the cache, which knows a file by its size and date.
            dataset = read_dataset(folder, cache=None, labelled=name == "development")
            fingerprints[name] = dataset.fingerprint
            if name == "test":
                fingerprints["test list"] = list_hash([example.image_id for example in dataset.examples])
    compared = compare_manifest(manifest, run, workspace.root, fingerprints, predictions, _scores(workspace, manifest))
    others = other_versions(manifest)
    changed = [each for each in compared if not each.same]
    if as_json:
        listed = [{**each.model_dump(), "same": each.same} for each in compared]
        print_json({"same": not changed, "compared": listed, "versions": others})
    else:
        for each in compared:
            typer.secho(each, fg=None if each.same else "red")
        for line in others:
            typer.secho(f"{line}: no difference in itself", dim=True)
    if changed:
        differ = "differs" if len(changed) == 1 else "differ"
        raise MedvqaError(
            f"{workspace.shown(run)}: {len(changed)} of {len(compared)} things {differ} from its manifest",
            remedy="`medvqa package` writes the run anew from what is there now",
        )
    if not as_json:
        typer.echo(f"{workspace.shown(run)} and all that it was made of are as they were.")


def _scores(workspace: Workspace, manifest: Manifest) -> Any:
    """What scores.json says now of the run whose predictions the manifest names; None where it says nothing."""
    names = [PurePosixPath(name).parts for name in manifest.inputs if name.endswith(".jsonl")]
    runs = [
        parts[1]
        for parts in names
        if len(parts) == 4 and parts[0] == workspace.work.name and parts[1] in workspace.runs()
    ]
    try:
        return json.loads(Workspace.at(workspace.root, (runs or [workspace.run])[0]).scores.read_bytes())
    except (OSError, ValueError):
        return None
