"""The manifest beside a run: what the run was made from, by content hash.

It holds no date and no path of the machine, so that the same steps give the same manifest.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict

from imageclef_vqa import __version__
from imageclef_vqa.errors import MedvqaError, MissingFileError, MissingStepError, printable
from imageclef_vqa.inputs import read_model, sha256
from imageclef_vqa.submission.run import Finding

_LIBRARIES = ("numpy", "pydantic", "pillow", "scikit-learn", "safetensors", "paddlepaddle", "paddlenlp")


class Manifest(BaseModel):
    """What is read of a manifest file; further keys are ignored."""

    model_config = ConfigDict(frozen=True)

    run: dict[str, Any]
    data: dict[str, str]  # name of a data set or list → hash
    inputs: dict[str, str]  # file, relative to the workspace → hash
    answers: dict[str, str] = {}  # run, artefact and digest of the answers
    versions: dict[str, str] = {}
    scores: Any = None


class ManifestItem(BaseModel):
    """One thing that a manifest records, with its hash then and now; `now` is None if it does not exist."""

    model_config = ConfigDict(frozen=True)

    what: str
    name: str
    then: str
    now: str | None

    @property
    def same(self) -> bool:
        return self.then == self.now

    def __str__(self) -> str:
        if self.same:
            return f"{self.what} {self.name}: the same"
        now = "it does not exist now" if self.now is None else f"it is {self.now[:12]} now"
        return f"{self.what} {self.name}: it was {self.then[:12]} when the run was written, {now}"


def manifest_path(run: Path) -> Path:
    """`run.csv` → `run.csv.manifest.json`."""
    return run.with_name(f"{run.name}.manifest.json")


def make_manifest(
    name: str,
    content: bytes,
    *,
    images: int,
    answers: int,
    fold: str,
    command: str,
    seed: int,
    data: Mapping[str, str],
    inputs: Mapping[str, str],
    answers_from: Mapping[str, str],
    scores: Any,
    findings: Sequence[Finding],
) -> dict[str, Any]:
    """The manifest of the run `content`, which is written to a file called `name`.

    Args:
        images, answers: how many the run has.
        fold: "test" or "val".
        command: as typed, without folders.
        seed: of the split.
        data: name of a data set or list → hash.
        inputs: file, relative to the workspace → hash.
        answers_from: `run`, `artefact` and `digest` of the answers.
        scores: the content of scores.json; None if nothing was scored.
        findings: of the checks; their remedies, which name folders of this machine, are left out.
    """
    run = {"file": name, "sha256": _hash(content), "images": images, "answers": answers, "fold": fold}
    return {
        "run": run,
        "command": command,
        "seed": seed,
        "data": dict(data),
        "inputs": dict(inputs),
        "answers": dict(answers_from),
        "versions": versions(),
        "scores": scores,
        "findings": [finding.model_dump(exclude={"remedy"}) for finding in findings],
    }


def hashes(files: Sequence[Path], root: Path) -> dict[str, str]:
    """Path relative to `root` → hash, for those of `files` that exist; the name only for files outside `root`."""
    return {
        path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name: sha256(path)
        for path in files
        if path.is_file()
    }


def list_hash(image_ids: Sequence[str]) -> str:
    """The hash of a list of ids in its order, which is that of the run."""
    return _hash("\n".join(image_ids).encode())


def versions() -> dict[str, str]:
    """Python, this package, and the libraries that answers depend on."""
    found = {"python": platform.python_version(), "imageclef-vqa": __version__}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def read_manifest(run: Path, package: str = "medvqa package") -> Manifest:
    """The manifest beside `run`; the command `package` writes both.

    Raises:
        MissingStepError: there is none.
        MedvqaError: it is damaged, or describes a run of another name.
    """
    path = manifest_path(run)
    try:
        manifest = read_model(path, Manifest, f"`{package}` writes it again")
    except MissingFileError as error:
        raise MissingStepError(f"no {path.name} beside {run.name}", package) from error
    if manifest.run.get("file") != run.name:
        other = printable(str(manifest.run.get("file")))[:80]
        remedy = f"the file was renamed: `{package}` writes a run and a manifest of the same name"
        raise MedvqaError(f"{path} describes {other}, not {run.name}", remedy=remedy)
    return manifest


def compare_manifest(
    manifest: Manifest,
    run: Path,
    root: Path,
    data: Mapping[str, str],
    predictions: Path | None = None,
    scores: Any = None,
) -> list[ManifestItem]:
    """Run, data, inputs and scores, hashed again and compared with the manifest.

    Args:
        root: the workspace, which the names of the inputs are relative to.
        data: name of a data set or list → hash now; those that do not exist are left out.
        predictions: the file for an input of the same name; the manifest has no path of files outside `root`.
        scores: the content of scores.json now; compared only if the manifest records scores.
    """
    run_hash = sha256(run) if run.is_file() else None
    items = [ManifestItem(what="run", name=run.name, then=str(manifest.run.get("sha256")), now=run_hash)]
    items += [
        ManifestItem(what="data", name=name, then=then, now=data.get(name)) for name, then in manifest.data.items()
    ]
    for name, then in manifest.inputs.items():
        path = predictions if predictions is not None and predictions.name == name else root / name
        now = sha256(path) if is_beneath(name) and path.is_file() else None
        items.append(ManifestItem(what="input", name=printable(name), then=then, now=now))
    if manifest.scores is not None:
        now = None if scores is None else _json_hash(scores)
        items.append(ManifestItem(what="scores", name="scores.json", then=_json_hash(manifest.scores), now=now))
    return items


def other_versions(manifest: Manifest) -> list[str]:
    """Python and libraries that differ from the manifest; they may explain a difference."""
    here = versions()
    return [
        f"{printable(name)} was {printable(then)}, here it is {here.get(name, 'missing')}"
        for name, then in manifest.versions.items()
        if here.get(name) != then
    ]


def is_beneath(name: str) -> bool:
    """Whether a file name of a manifest, which may come from anybody, stays in the workspace."""
    return not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json_hash(content: Any) -> str:
    return _hash(json.dumps(content, sort_keys=True).encode())
