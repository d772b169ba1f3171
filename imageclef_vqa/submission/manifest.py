"""What a run was made of, written beside it: hashes, versions, seed, command, scores and findings.

It holds no date and no path of the machine, so that the same steps give the same manifest.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from imageclef_vqa import __version__
from imageclef_vqa.submission.checks import Finding

_LIBRARIES = ("numpy", "pydantic", "pillow", "scikit-learn", "safetensors", "paddlepaddle", "paddlenlp")


def manifest_path(run: Path) -> Path:
    """`run.csv` → `run.manifest.json`."""
    return run.with_name(f"{run.stem}.manifest.json")


def sha256(path: Path) -> str:
    """The hash of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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
    run: Path,
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
    """The manifest of the run that was written to `run`.

    Args:
        data: name of a data set → its fingerprint.
        inputs: file → hash: predictions, split, model.
        scores: the content of scores.json, None where nothing was scored.
    """
    return {
        "run": {"file": run.name, "sha256": sha256(run), "images": images, "answers": answers, "fold": fold},
        "command": command,
        "seed": seed,
        "data": dict(data),
        "inputs": dict(inputs),
        "versions": versions(),
        "scores": scores,
        "findings": [finding.model_dump(exclude_defaults=True) for finding in findings],
    }
