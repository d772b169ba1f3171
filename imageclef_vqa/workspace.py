"""Where everything lies: the files that one command leaves and the next one finds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from imageclef_vqa.errors import DamagedFileError, DataError, MissingFileError, UsageError
from imageclef_vqa.inputs import FileName, faults_of, read_toml

SETTINGS_FILE = "medvqa.toml"
LABEL_FILES = ("gt.json", "qa.jsonl")  # of closed and of open questions
CLOSED_EDITION, OPEN_EDITION = "gi-2023", "medico-2026"  # of a workspace that names none
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # of runs, and of variants of answers
# A command on the workspace in a message; one that names its run or workspace is complete.
_COMMAND = re.compile(
    r"`(medvqa (split|finetune|predict|route|score|package|status)\b(?![^`]*--(?:run|workspace))[^`]*)`"
)
NAME_RULE = "a name of letters, digits, '.', '_' and '-', at most 64"


class DataSettings(BaseModel):
    """`[data]` in `medvqa.toml`: the folders of the data, beneath the workspace or absolute, and their edition."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    development: FileName | None = None
    test: FileName | None = None
    edition: str | None = None


def read_settings(root: Path) -> tuple[DataSettings, dict[str, dict[str, Any]]]:
    """`[data]` in `medvqa.toml`, checked, and its other tables, one per command, with options as keys.

    Raises:
        FileError: the file cannot be read.
        UsageError: it is not TOML, a key is outside a table, or `[data]` has another key or type of value.
    """
    path = root / SETTINGS_FILE
    try:
        tables = read_toml(path)
    except MissingFileError:
        return DataSettings(), {}
    except DamagedFileError as error:
        raise UsageError(error.what) from error
    if strays := [key for key, value in tables.items() if not isinstance(value, dict)]:
        raise UsageError(f"{path}: {', '.join(strays)}: every key belongs to a table, as in [split]")
    data = tables.pop("data", {})
    if faults := faults_of(DataSettings, data):
        raise UsageError("\n".join(f"{path}: [data] {fault}" for fault in faults))
    return DataSettings(**data), tables


def _joined(name: str, runs: Sequence[str]) -> list[str]:
    """Those of `runs` that `name` is made of, as in `-one-other`; none if it is not."""
    for run in runs:
        if name == f"-{run}":
            return [run]
        if name.startswith(f"-{run}-") and (others := _joined(name.removeprefix(f"-{run}"), runs)):
            return [run, *others]
    return []


@dataclass(frozen=True)
class Workspace:
    """A folder with `data/` from the organisers and `work/` from us."""

    root: Path
    development: Path
    test: Path
    run: str = "main"
    edition: str = CLOSED_EDITION
    cache_folder: Path | None = None  # instead of work/cache, for pictures that are answered only once

    @classmethod
    def at(cls, root: str | Path, run: str = "main") -> Workspace:
        """The workspace in `root`; `[data]` in its `medvqa.toml` may say where the data are, and of which edition.

        Without that, a `qa.jsonl` among the data makes it one of open questions.

        Raises:
            UsageError: `run` is no name for a folder, or `[data]` has a fault.
        """
        if not NAME.fullmatch(run):
            raise UsageError(f"--run {run!r}: {NAME_RULE}")
        root = Path(root)
        settings, _ = read_settings(root)
        data = root / "data"
        direct = not (data / "development").exists() and any((data / name).exists() for name in LABEL_FILES)
        development = root / (settings.development or ("data" if direct else "data/development"))
        test = root / (settings.test or "data/test")
        open_ = any((folder / "qa.jsonl").exists() for folder in (development, test))
        edition = settings.edition or (OPEN_EDITION if open_ else CLOSED_EDITION)
        return cls(root=root, development=development, test=test, run=run, edition=edition)

    def runs(self) -> list[str]:
        """The names of all runs, in order: folders of work/ in which something was trained or answered."""
        marks = ("stage1", "stage2", "predictions", "scores.json")
        folders = sorted(self.work.iterdir()) if self.work.is_dir() else []
        return [each.name for each in folders if any((each / mark).exists() for mark in marks)]

    def members(self) -> list[Workspace]:
        """The runs whose models answer: this one, or those that an ensemble is named after."""
        names = _joined(self.run.removeprefix("ensemble"), self.runs()) if self.run.startswith("ensemble-") else []
        return [Workspace.at(self.root, name) for name in names] or [self]

    @property
    def has_test(self) -> bool:
        return (self.test / "images").is_dir()

    def check_development(self) -> None:
        """Before anything is written.

        Raises:
            DataError: there is no folder for development images.
        """
        if not (images := self.development / "images").is_dir():
            raise DataError([f"{images}: there is no such folder"], remedy="unpack the organisers' files there")

    def misspelt_test(self) -> Path | None:
        """A folder of pictures that may be meant for the test images, where there are none: as `data/tset`."""
        if self.has_test or not self.test.parent.is_dir():
            return None
        others = [path.name for path in self.test.parent.iterdir() if path != self.development and path != self.test]
        near = get_close_matches(self.test.name, others, n=1)
        return self.test.parent / near[0] if near and (self.test.parent / near[0] / "images").is_dir() else None

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def cache(self) -> Path:
        return self.cache_folder or self.work / "cache"

    @property
    def split_file(self) -> Path:
        return self.work / "split.json"

    @property
    def run_folder(self) -> Path:
        return self.work / self.run

    def stage(self, number: int) -> Path:
        return self.run_folder / f"stage{number}"

    def predictions(self, fold: str, name: str | None = None) -> Path:
        """BLIP-2's answers to a fold: the plain ones, or those of the variant `name`."""
        return self.run_folder / "predictions" / (name or "") / f"{fold}.jsonl"

    def routed(self, fold: str) -> Path:
        return self.run_folder / "routed" / f"{fold}.jsonl"

    def expert(self, name: str) -> Path:
        return self.run_folder / "experts" / name

    def floor(self, fold: str) -> Path | None:
        """The classical expert's answers to `fold`, which every run is compared with; None if nobody made them."""
        made = (self.expert("classical") / f"{fold}.jsonl", self.work / "baseline" / "predictions" / f"{fold}.jsonl")
        return next((path for path in made if path.exists()), None)

    @property
    def calibration(self) -> Path:
        return self.calibration_of(augment=False)

    def calibration_of(self, *, augment: bool) -> Path:
        return self.run_folder / ("calibration-augmented.json" if augment else "calibration.json")

    @property
    def scores(self) -> Path:
        return self.run_folder / "scores.json"

    @property
    def report(self) -> Path:
        return self.run_folder / "report.html"

    def shown(self, path: Path) -> str:
        """`path` as a user would type it."""
        try:
            return str(path.relative_to(self.root))
        except ValueError:
            return str(path)

    def typed(self, command: str, *, run: bool = True) -> str:
        """A command with `--run` and `--workspace`, where they are not the defaults."""
        if run and self.run != "main":
            command += f" --run {self.run}"
        return command if self.root == Path(".") else f"{command} --workspace {self.root}"

    def completed(self, text: str) -> str:
        """`text` with the options of `typed` in the commands in it, as in `medvqa predict`, that name no run."""
        return _COMMAND.sub(lambda found: f"`{self.typed(found[1], run=found[2] != 'split')}`", text)
