"""Which artefact was made from which, and whether that still holds: the only module that knows the graph.

    development, weights ─► split ─► stage1 ─► stage2 ─► predictions ─► routed ─► scores, run file
                                     calibration, test ────┘    experts ──┘

An artefact is *fresh* if its files are those that were finished and everything that it was made from is still the same
and fresh itself. Content hashes decide; dates of files are never looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from imageclef_vqa.artefacts import ChangedError, Record, check_artefact, read_record
from imageclef_vqa.data import Split
from imageclef_vqa.errors import DamagedFileError, MedvqaError
from imageclef_vqa.inference.calibration import Calibration
from imageclef_vqa.inputs import read_model
from imageclef_vqa.pipeline.sources import TITLES, Sources
from imageclef_vqa.training.replacement import recover, replacement_of, stage_state
from imageclef_vqa.workspace import Workspace

Status = Literal["fresh", "stale", "missing", "unfinished", "damaged", "unrecorded"]
_COMMANDS = {
    "split": "split",
    "stage1": "finetune --stage 1",
    "stage1-fresh": "finetune --stage 1",
    "stage2": "finetune --stage 2",
    "stage2-fresh": "finetune --stage 2",
    "calibration": "predict --fold val",
    "calibration-augmented": "predict --fold val --augment",
    "predictions": "predict",
    "experts": "route",
    "routed": "route",
    "scores": "score",
}
KINDS = tuple(_COMMANDS)  # of artefacts, in the order in which they are made


@dataclass(frozen=True)
class Artefact:
    """An artefact of a run and its state; `reasons` say why it is not fresh, and `causes` what began it."""

    name: str
    path: Path
    status: Status
    reasons: tuple[str, ...] = ()
    record: Record | None = None
    causes: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """The status, and what began it, as in `stale: the test set has changed`."""
        return f"{self.status}: {'; '.join(self.causes or self.reasons)}"


class Lineage:
    """The artefacts of one run.

    Names: `split`, `stage1`, `stage2`, `stage2-fresh` (a retraining that replaces `stage2`), `calibration`,
    `predictions/val`, `predictions/NAME/val`, `experts/classical/val`, `routed/val`, `scores`; those of another run
    begin with `work/<run>/`. A name with the suffix `.jsonl` is a file of answers anywhere.
    """

    def __init__(self, workspace: Workspace, hashes: dict[Path, str | None] | None = None) -> None:
        self.workspace = workspace
        self.sources = Sources(workspace, hashes)
        self._artefacts: dict[str, Artefact] = {}
        self._others: dict[str, Lineage] = {}

    def artefact(self, name: str) -> Artefact:
        """The state of an artefact; everything that it depends on is read and hashed, once."""
        if name not in self._artefacts:
            self._artefacts[name] = self._examine(name)
        return self._artefacts[name]

    def names(self) -> list[str]:
        """The artefacts of the run that exist, in the order in which they are made."""
        single = ("predictions", "experts", "routed", "scores")
        found = [name for name in KINDS if name not in single and self.path(name).exists()]
        folder = self.workspace.run_folder
        for pattern in ("predictions/*.jsonl", "predictions/*/*.jsonl", "experts/*/*.jsonl", "routed/*.jsonl"):
            found += [path.relative_to(folder).with_suffix("").as_posix() for path in sorted(folder.glob(pattern))]
        return found + ["scores"] * self.workspace.scores.exists()

    def has_answers(self, fold: str) -> bool:
        """Whether the run has predictions for `fold`, routed or plain."""
        return self.path(f"predictions/{fold}").exists() or self.path(f"routed/{fold}").exists()

    def path(self, name: str) -> Path:
        """The file or folder of an artefact."""
        if name == "split":
            return self.workspace.split_file
        if name.startswith("stage"):
            folder = self.workspace.stage(int(name[len("stage")]))
            recover(folder)
            return replacement_of(folder) if name.endswith("-fresh") else folder
        if name.endswith(".jsonl"):
            return Path(name)
        suffix = "json" if name == "routed/decisions" or name.startswith("calibration") else "jsonl"
        return self.workspace.scores if name == "scores" else self.workspace.run_folder / f"{name}.{suffix}"

    def command(self, name: str) -> str:
        """The command that makes an artefact, with the options that name this run and workspace."""
        if name.endswith(".jsonl"):
            return self.with_options(f"medvqa predict --images FOLDER --out {name}")
        kind, *variant, _ = name.split("/") if "/" in name else (name, "")
        command = _COMMANDS[kind]
        if kind == "predictions" and variant:
            command += f"{self._variant_options(name)} --name {variant[0]}"
        elif kind == "predictions" and self.adopted:
            command = "adopt FILE"
        if name in ("stage1", "stage2") and stage_state(self.path(name)) in ("finished", "unrecorded"):
            # Without --fresh, an unfinished retraining is resumed.
            command += "" if self.path(f"{name}-fresh").exists() else " --fresh"
        return self.with_options(f"medvqa {command}", run=name != "split")

    def _variant_options(self, name: str) -> str:
        """The options of `predict` that made a variant, each after a space; none where its record cannot be read."""
        try:
            record = read_record(self.path(name))
        except ChangedError:
            return ""
        values = {} if record is None else {key: record.options.get(key) for key in ("decode", "optimise")}
        flags = [] if record is None else [key for key in ("augment", "consistent") if record.options.get(key)]
        chosen = [f" --{key} {value}" for key, value in values.items() if value in ("free", "f1")]
        return "".join([*chosen, *(f" --{flag}" for flag in flags)])

    @cached_property
    def adopted(self) -> bool:
        """Whether the run's predictions are those of another model."""
        for path in sorted((self.workspace.run_folder / "predictions").glob("*.jsonl")):
            with suppress(ChangedError):
                if (record := read_record(path)) is not None and record.command.startswith("adopt "):
                    return True
        return False

    def remedy(self, name: str) -> str:
        """The command to begin with where an artefact is not fresh: that of the first link that is not."""
        record = self.artefact(name).record
        for each in self._earlier(name) if record is None else record.inputs:
            lineage, own = self, each
            if each.startswith("work/"):
                _, run, own = each.split("/", 2)
                lineage = self._other(run)
            if own.split("/")[0] in _COMMANDS and lineage.artefact(own).status != "fresh":
                return lineage.remedy(own)
        return self.command(name)

    def _earlier(self, name: str) -> list[str]:
        """What an artefact without a record may have been made from: all that there is of earlier commands."""
        before = KINDS[: KINDS.index(name.split("/")[0])] if name.split("/")[0] in KINDS else ()
        return [each for each in self.names() if each.split("/")[0] in before and not each.endswith("-fresh")]

    def with_options(self, command: str, *, run: bool = True) -> str:
        """A command with `--run` and `--workspace`, where they are not the defaults."""
        return self.workspace.typed(command, run=run)

    def _examine(self, name: str) -> Artefact:
        path = self.path(name)
        if not path.exists():
            return Artefact(name, path, "missing")
        if name == "split":
            return self._examine_split(path)
        if name.startswith("stage") and stage_state(path) == "unfinished":
            instead = f"; {name.removesuffix('-fresh')} stays until then" * name.endswith("-fresh")
            return Artefact(name, path, "unfinished", (f"`{self.command(name)}` goes on with it{instead}",))
        try:
            if read_record(path) is None:
                reason = "made by a version that kept no records"
                return Artefact(name, path, "unrecorded", (reason,))
            record = check_artefact(path, self.workspace.shown(path), f"`{self.command(name)}` makes it again")
        except ChangedError as error:
            return Artefact(name, path, "damaged", (error.what,))
        reasons = {each: why for each, digest in record.inputs.items() if (why := self.difference(each, digest))}
        causes = dict.fromkeys(cause for each, why in reasons.items() for cause in self._causes(each, why))
        status: Status = "stale" if reasons else "fresh"
        return Artefact(name, path, status, tuple(reasons.values()), record, tuple(causes))

    def _causes(self, name: str, why: str) -> Sequence[str]:
        """What began that an input is not fresh; itself, `why`, if nothing did."""
        if name.startswith("work/"):
            _, run, rest = name.split("/", 2)
            return [f"run {run}: {each}" for each in self._other(run)._causes(rest, why.removeprefix(f"run {run}: "))]
        artefact = self.artefact(name) if name.split("/")[0] in KINDS and name != "split" else None
        if artefact is None or artefact.status not in ("stale", "damaged"):
            return [why]
        return artefact.causes or artefact.reasons

    def _examine_split(self, path: Path) -> Artefact:
        try:
            split = read_model(path, Split)
        except DamagedFileError:
            return Artefact("split", path, "damaged", (f"{self.workspace.shown(path)} is damaged",))
        if split.fingerprint != self.sources.digest("development"):
            return Artefact("split", path, "stale", ("the development set has changed",))
        return Artefact("split", path, "fresh")

    def difference(self, name: str, digest: str) -> str | None:
        """Why an input is not what it was; None if it is."""
        kind = name.split("/")[0]
        if kind == "work":
            _, run, rest = name.split("/", 2)
            why = self._other(run).difference(rest, digest)
            return why and f"run {run}: {why}"
        if kind in TITLES:
            now = self.sources.digest(name)
            return None if now == digest else f"{TITLES[kind]} {'is missing' if now is None else 'has changed'}"
        if kind == "images":
            return None if self.sources.digest("test") == digest else "it answers other images than the test set has"
        artefact = self.artefact(name)
        if kind.startswith("calibration") and artefact.status in ("fresh", "stale", "missing"):
            # A stale calibration is not applied; answers without one have an empty digest.
            now = _calibration_digest(artefact.path) if artefact.status == "fresh" else ""
            again = "was made again" if artefact.status == "fresh" else f"is {artefact.status}"
            return None if now == digest else f"{name} {again}"
        if artefact.status != "fresh":
            return f"{name} is {artefact.status}"
        return None if artefact.record and artefact.record.digest == digest else f"{name} was made again"

    def _other(self, run: str) -> Lineage:
        if run == self.workspace.run:
            return self
        if run not in self._others:
            self._others[run] = Lineage(Workspace.at(self.workspace.root, run), self.sources.hashes)
        return self._others[run]


def _calibration_digest(path: Path) -> str:
    """What answers depend on in a calibration; empty if another version wrote it."""
    try:
        return read_model(path, Calibration).digest
    except MedvqaError:
        return ""
