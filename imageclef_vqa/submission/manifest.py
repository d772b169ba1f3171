"""What a run was made of, written beside it: hashes, versions, seed, command, scores and findings.

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

from pydantic import BaseModel, ConfigDict, ValidationError

from imageclef_vqa import __version__
from imageclef_vqa.errors import MedvqaError, MissingStepError
from imageclef_vqa.files import sha256
from imageclef_vqa.submission.findings import Finding, printable

_LARGEST = 16 * 2**20  # bytes
_LIBRARIES = ("numpy", "pydantic", "pillow", "scikit-learn", "safetensors", "paddlepaddle", "paddlenlp")


def manifest_path(run: Path) -> Path:
    """`run.csv` → `run.manifest.json`."""
    return run.with_name(f"{run.stem}.manifest.json")


def list_hash(image_ids: Sequence[str]) -> str:
    """The hash of an id list, in its order, which is that of a run."""
    return hashlib.sha256("\n".join(image_ids).encode()).hexdigest()


def hashes(files: Sequence[Path], root: Path) -> dict[str, str]:
    """Path beneath `root` → hash, for those of `files` that are there; elsewhere, the name alone."""
    return {
        path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name: sha256(path)
        for path in files
        if path.is_file()
    }


def versions() -> dict[str, str]:
    """Python, this package, and the libraries that answers depend on."""
    found = {"python": platform.python_version(), "imageclef-vqa": __version__}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


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
    scores: Any,
    findings: Sequence[Finding],
) -> dict[str, Any]:
    """The manifest of the run `content`, to be written to a file called `name`.

    Args:
        data: name of a data set → its fingerprint.
        inputs: file → hash: predictions, split, model.
        scores: the content of scores.json, None where nothing was scored.
    """
    return {
        "run": {
            "file": name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "images": images,
            "answers": answers,
            "fold": fold,
        },
        "command": command,
        "seed": seed,
        "data": dict(data),
        "inputs": dict(inputs),
        "versions": versions(),
        "scores": scores,
        "findings": [finding.model_dump(exclude_defaults=True) for finding in findings],
    }


class Manifest(BaseModel):
    """What `--verify` asks of a manifest; the rest of it may be anything."""

    model_config = ConfigDict(frozen=True)

    run: dict[str, Any]
    data: dict[str, str]
    inputs: dict[str, str]
    versions: dict[str, str] = {}
    scores: Any = None


class Comparison(BaseModel):
    """One thing that a manifest names, and whether it is still what it was."""

    model_config = ConfigDict(frozen=True)

    what: str
    name: str
    then: str
    now: str | None  # None: it is not there

    @property
    def same(self) -> bool:
        return self.then == self.now

    def __str__(self) -> str:
        if self.same:
            return f"{self.what} {self.name}: the same"
        now = "it is not there" if self.now is None else f"it is {self.now[:12]} now"
        return f"{self.what} {self.name}: {self.then[:12]} when the run was written, {now}"


def read_manifest(run: Path) -> Manifest:
    """The manifest beside `run`.

    Raises:
        MissingStepError: there is none.
        MedvqaError: it is damaged, or describes a run of another name.
    """
    path = manifest_path(run)
    try:
        with path.open("rb") as file:
            manifest = Manifest.model_validate_json(file.read(_LARGEST))
    except FileNotFoundError as error:
        raise MissingStepError(f"no {path.name} beside {run.name}", "medvqa package") from error
    except (OSError, ValidationError) as error:
        raise MedvqaError(f"{path} is damaged", remedy="`medvqa package` makes it anew") from error
    if manifest.run.get("file") != run.name:
        other = printable(str(manifest.run.get("file")))[:80]
        raise MedvqaError(f"{path} describes {other}, not {run.name}", remedy="`medvqa package --out` names both alike")
    return manifest


def compare(
    manifest: Manifest,
    run: Path,
    root: Path,
    data: Mapping[str, str],
    predictions: Path | None = None,
    scores: Any = None,
) -> list[Comparison]:
    """Run, data, model, split, recipe, predictions and scores, each hashed anew, against the manifest.

    Args:
        root: the workspace, beneath which the inputs lie.
        data: name of a data set → its fingerprint now; absent where it is not there.
        predictions: where those lie that the manifest knows by their name alone, because they lay elsewhere.
        scores: the content of scores.json now; asked for only where the run was scored before it was written.
    """
    found = [
        Comparison(
            what="run",
            name=run.name,
            then=str(manifest.run.get("sha256")),
            now=sha256(run) if run.is_file() else None,
        )
    ]
    found += [Comparison(what="data", name=name, then=then, now=data.get(name)) for name, then in manifest.data.items()]
    for name, then in manifest.inputs.items():
        path = predictions if predictions is not None and predictions.name == name else root / name
        now = sha256(path) if is_beneath(name) and path.is_file() else None
        found.append(Comparison(what=_role(PurePosixPath(name)), name=printable(name), then=then, now=now))
    if manifest.scores is not None:
        now = None if scores is None else _content_hash(scores)
        found.append(Comparison(what="scores", name="scores.json", then=_content_hash(manifest.scores), now=now))
    return found


def other_versions(manifest: Manifest) -> list[str]:
    """Python and libraries that are not those of the manifest: no difference in itself, but a reason for one."""
    here = versions()
    return [
        f"{printable(name)} was {printable(then)}, here it is {here.get(name, 'missing')}"
        for name, then in manifest.versions.items()
        if here.get(name) != then
    ]


def _content_hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_beneath(name: str) -> bool:
    """Whether a manifest's name of a file, which may come from anybody, stays in the workspace."""
    return not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts


def _role(path: PurePosixPath) -> str:
    roles = {"split.json": "split", "config.json": "recipe", "vocabulary.json": "vocabulary"}
    roles |= {"expert.json": "expert", "calibration.json": "calibration"}
    suffixes = {".safetensors": "model", ".jsonl": "log" if path.name == "log.jsonl" else "predictions"}
    return roles.get(path.name) or suffixes.get(path.suffix, "file")
