"""Artefacts: what a command leaves in a workspace, each with a record of what it was made from.

A record is a JSON file beside its artefact: `val.jsonl` has `val.jsonl.record.json`, the folder `stage2` has
`stage2/record.json`. It holds content hashes (SHA-256) of the artefact's own files and of everything that it was made
from. Dates of files are never looked at: copies, moved workspaces and clocks change nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from imageclef_vqa.errors import DamagedFileError, MedvqaError, MissingFileError
from imageclef_vqa.files import json_text, write_text, write_together
from imageclef_vqa.inputs import read_model, sha256

RECORD = "record.json"


class ChangedError(MedvqaError):
    """A file is not the one that was finished: its content differs from its record, or it has no record."""


class Record(BaseModel):
    """What an artefact consists of and what it was made from.

    Attributes:
        command: the command that made it, as typed after the program's name: `finetune --stage 2`.
        files: name of each of its files → SHA-256.
        inputs: name of each thing it was made from → content hash; for an artefact, the digest of its record.
        options: what else the content depends on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str
    files: dict[str, str]
    inputs: dict[str, str]
    options: dict[str, Any] = {}

    @property
    def digest(self) -> str:
        """A hash of the artefact and, through its inputs, of all that it was made from."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


def record_path(artefact: Path) -> Path:
    """The record of a file or folder."""
    return artefact / RECORD if artefact.suffix == "" else artefact.with_name(f"{artefact.name}.{RECORD}")


def write_artefact(
    path: Path,
    content: bytes,
    *,
    command: str,
    inputs: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
) -> Record:
    """Write a file and its record together: whatever happens, a file is never beside another one's record.

    Raises:
        MedvqaError: one cannot be written; both are as they were.
    """
    record = Record(
        command=command,
        files={path.name: hashlib.sha256(content).hexdigest()},
        inputs=dict(inputs),
        options=dict(options or {}),
    )
    write_together({path: content, record_path(path): json_text(record.model_dump()).encode()})
    return record


def record_folder(
    folder: Path,
    names: Iterable[str],
    *,
    command: str,
    inputs: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
) -> Record:
    """Write the record of a folder whose files are finished; without a record, the folder is not.

    Raises:
        MedvqaError: a file cannot be read, or the record cannot be written.
    """
    record = Record(
        command=command,
        files={name: sha256(folder / name) for name in names},
        inputs=dict(inputs),
        options=dict(options or {}),
    )
    write_text(record_path(folder), json_text(record.model_dump()))
    return record


def read_record(artefact: Path) -> Record | None:
    """The record of an artefact; None if it has none, as those made before there were records.

    Raises:
        ChangedError: the record is damaged.
    """
    path = record_path(artefact)
    try:
        return read_model(path, Record)
    except MissingFileError:
        return None
    except DamagedFileError as error:
        raise ChangedError(f"{path} is damaged") from error


def check_artefact(artefact: Path, shown: str, remedy: str) -> Record:
    """The record of an artefact, after every one of its files was read and hashed.

    Args:
        shown: the artefact as a user would type it, for messages.
        remedy: the command that makes it again.

    Raises:
        ChangedError: a file is missing or is not the one that was finished; there is no record, or it is damaged.
    """
    try:
        record = read_record(artefact)
    except ChangedError as error:
        raise ChangedError(error.what, remedy=remedy) from error
    if record is None:
        raise ChangedError(
            f"{shown} was made by a version that kept no records, so it cannot be checked", remedy=remedy
        )
    folder = artefact if record_path(artefact).parent == artefact else artefact.parent
    for name, expected in record.files.items():
        path = folder / name
        if not path.is_file():
            raise ChangedError(f"{shown}: {name} is missing", remedy=remedy)
        if sha256(path) != expected:
            where = shown if folder != artefact else f"{shown}/{name}"
            raise ChangedError(f"{where} is not the file that was finished: its content has changed", remedy=remedy)
    return record
