"""`medvqa package --verify`: a run, and all it was made of, compared with its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from imageclef_vqa.data.reading import read_dataset
from imageclef_vqa.errors import DamagedFileError, MissingFileError
from imageclef_vqa.inputs import read_json
from imageclef_vqa.submission import (
    Manifest,
    ManifestItem,
    compare_manifest,
    list_hash,
    other_versions,
    read_manifest,
)
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class Verified:
    """Everything that a manifest names, and whether it is the same; `versions` has a line per library that differs."""

    compared: tuple[ManifestItem, ...]
    versions: tuple[str, ...]

    @property
    def changed(self) -> list[ManifestItem]:
        return [each for each in self.compared if not each.same]


def verify(
    file: str | Path,
    *,
    predictions: str | Path | None = None,
    workspace: str | Path = ".",
    run: str = "main",
) -> Verified:
    """Compare the run `file`, and all that its manifest names, with what is there now.

    Raises:
        MissingStepError: there is no manifest beside it.
        MedvqaError: the manifest is damaged, or describes another file.
    """
    at, path = Workspace.at(workspace, run), Path(file)
    manifest = read_manifest(path, at.typed(f"medvqa package --out {path.name}"))
    fingerprints = {}
    for name, folder in (("development", at.development), ("test", at.test)):
        if name in manifest.data and (folder / "images").is_dir():
            # Without the cache, which knows a file by its size and date.
            dataset = read_dataset(folder, cache=None, labelled=name == "development")
            fingerprints[name] = dataset.fingerprint
            if name == "test":
                fingerprints["test list"] = list_hash(dataset.image_ids)
    source = None if predictions is None else Path(predictions)
    compared = compare_manifest(manifest, path, at.root, fingerprints, source, _scores(at, manifest))
    return Verified(tuple(compared), tuple(other_versions(manifest)))


def _scores(workspace: Workspace, manifest: Manifest) -> Any:
    """The content of scores.json of the run whose predictions the manifest names; None without one."""
    names = [PurePosixPath(name).parts for name in manifest.inputs if name.endswith(".jsonl")]
    runs = [
        parts[1]
        for parts in names
        if len(parts) == 4 and parts[0] == workspace.work.name and parts[1] in workspace.runs()
    ]
    try:
        return read_json(Workspace.at(workspace.root, (runs or [workspace.run])[0]).scores)
    except (MissingFileError, DamagedFileError):
        return None
