"""`medvqa status`: every artefact of a run, fresh or stale and why, and the command to type next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imageclef_vqa.editions import find_edition
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inputs import sha256
from imageclef_vqa.pipeline.lineage import KINDS, Artefact, Lineage, Status
from imageclef_vqa.submission import manifest_path, read_manifest
from imageclef_vqa.workspace import Workspace

_CHAIN = ("split", "stage1", "stage2", "predictions/val", "predictions/test", "routed/val", "routed/test", "scores")


@dataclass(frozen=True)
class RunStatus:
    """The artefacts of a run in the order in which they are made, run files last, and the next command."""

    run: str
    artefacts: tuple[Artefact, ...]
    next: str


def status(workspace: str | Path = ".", run: str | None = None) -> list[RunStatus]:
    """The state of `run`, or of every run; of `main` in a workspace without runs. Every file is read and hashed."""
    names = [run] if run is not None else Workspace.at(workspace).runs() or ["main"]
    return [_run_status(Lineage(Workspace.at(workspace, name))) for name in names]


def _run_status(lineage: Lineage) -> RunStatus:
    present = lineage.names()
    missing = [name for name in _chain(lineage) if name not in present]
    artefacts = [lineage.artefact(name) for name in [*present, *missing]]
    artefacts.sort(key=lambda each: _order(each.name))
    files = _run_files(lineage)
    return RunStatus(lineage.workspace.run, (*artefacts, *files), _next(lineage, files))


def _chain(lineage: Lineage) -> list[str]:
    """What the run needs before it is packaged."""
    names = [name for name in _CHAIN if lineage.workspace.has_test or not name.endswith("/test")]
    if find_edition(lineage.workspace.edition).open:
        names = [name for name in names if not name.startswith("routed/")]  # sentences are not routed
    if lineage.path("stage2").exists() or len(lineage.workspace.members()) > 1:
        names = [name for name in names if name != "stage1"]
    if len(lineage.workspace.members()) > 1 or lineage.workspace.run == "baseline" or lineage.adopted:
        names = [name for name in names if not name.startswith("stage")]
    return names


def _order(name: str) -> tuple[int, str]:
    return KINDS.index(name.split("/")[0]), name


def _next(lineage: Lineage, files: list[Artefact]) -> str:
    for name in _chain(lineage):
        if lineage.artefact(name).status != "fresh":
            return lineage.remedy(name)
    if any(each.status == "fresh" for each in files):
        return lineage.with_options(f"medvqa package --verify {files[-1].name}")
    return lineage.with_options(f"medvqa package --out {find_edition(lineage.workspace.edition).run_file}")


def _run_files(lineage: Lineage) -> list[Artefact]:
    """The run files in the workspace that were packaged from this run."""
    found = []
    for path in sorted(lineage.workspace.root.glob("*.manifest.json")):
        file = path.with_name(path.name.removesuffix(".manifest.json"))
        if file.is_file() and (state := _run_file(lineage, file)):
            found.append(state)
    return found


def _run_file(lineage: Lineage, file: Path) -> Artefact | None:
    try:
        manifest = read_manifest(file)
    except MedvqaError as error:
        return Artefact(file.name, manifest_path(file), "damaged", (error.what,))
    if manifest.answers.get("run") != lineage.workspace.run:
        return None
    state: Status = "fresh"
    reasons: list[str] = []
    if manifest.run.get("sha256") != sha256(file):
        state, reasons = "damaged", ["it was changed after it was written"]
    elif why := lineage.difference(manifest.answers.get("artefact", ""), manifest.answers.get("digest", "")):
        state, reasons = "stale", [why]
    return Artefact(file.name, file, state, tuple(reasons))
