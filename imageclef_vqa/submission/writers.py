"""A run as bytes: the organisers' JSON, the same in their zip, and CSV. The same answers give the same bytes."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

from imageclef_vqa.errors import DataError, MedvqaError, UsageError
from imageclef_vqa.files import atomic_write
from imageclef_vqa.submission.readers import COLUMNS, parse_run
from imageclef_vqa.submission.records import Layout, PairAnswers, arrange
from imageclef_vqa.task import join_answers

_TEAM_ZIP = re.compile(r"(?P<team>[A-Za-z0-9][A-Za-z0-9_-]{0,63})_clef2023_medvqa\.zip")
_MEMBER = "task1/run.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold


def team_zip(team: str) -> str:
    """The name that the organisers ask for.

    Raises:
        UsageError: `team` would not make a plain file name.
    """
    name = f"{team}_clef2023_medvqa.zip"
    if not _TEAM_ZIP.fullmatch(name):
        raise UsageError(f"--team {team!r}: a name of letters, digits, '_' and '-', at most 64")
    return name


def is_team_zip(path: Path) -> bool:
    """Whether `path` is named `<team>_clef2023_medvqa.zip`."""
    return _TEAM_ZIP.fullmatch(path.name) is not None


def render_csv(layout: Layout) -> bytes:
    """One row per answer; several answers in one cell, as `join_answers` writes them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for image_id, entries in layout.items():
        for entry in entries:
            writer.writerow((image_id, entry["QuestionID"], entry["Question"], join_answers(entry["Answer"])))
    return text.getvalue().encode()


def render_json(layout: Layout) -> bytes:
    """The organisers' layout, an answer always a list, one image to a line."""
    images = (f"{_json(image_id)}: {_json(entries)}" for image_id, entries in layout.items())
    return ("{\n" + ",\n".join(images) + "\n}\n").encode()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def render_zip(layout: Layout) -> bytes:
    """`task1/run.json` in a zip without dates, so that equal runs are equal files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        member = zipfile.ZipInfo(_MEMBER, date_time=_EPOCH)
        member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
        archive.writestr(member, render_json(layout))
    return buffer.getvalue()


RENDERERS = {".csv": render_csv, ".json": render_json, ".zip": render_zip}


def write_run(path: Path, answers: PairAnswers, image_ids: Sequence[str]) -> None:
    """Write `answers` in the format of `path`'s suffix, whole or not at all; what was written reads back the same.

    Raises:
        UsageError: the suffix is none of .csv, .json, .zip.
        MedvqaError: `path` cannot be written, or would not read back as it was meant; the old file stands.
    """
    if path.suffix not in RENDERERS:
        raise UsageError(f"--out {path.name}: runs are written as {', '.join(RENDERERS)}")
    try:
        content = RENDERERS[path.suffix](arrange(answers, image_ids))
    except UnicodeEncodeError as error:
        raise MedvqaError(f"an answer cannot be written as UTF-8: {error.object[error.start : error.end]!r}") from error
    if not _reads_back(content, path, answers):
        raise MedvqaError(f"{path} would not read back as it is meant; nothing was written")
    with atomic_write(path, "wb") as file:
        file.write(content)
    if path.read_bytes() != content:
        raise MedvqaError(f"{path} does not hold what was written to it", remedy="write it to another disk")


def _reads_back(content: bytes, path: Path, answers: PairAnswers) -> bool:
    try:
        return parse_run(content, str(path), path.suffix) == dict(answers)
    except DataError:
        return False
