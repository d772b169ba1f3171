"""A run as bytes: the organisers' JSON, the same in their zip, and CSV. The same answers give the same bytes."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from imageclef_vqa.editions import GI_2023, Edition, join_answers
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.files import write_together
from imageclef_vqa.submission.readers import as_lists, examine
from imageclef_vqa.submission.reading import Form
from imageclef_vqa.submission.records import COLUMNS, Layout, PairAnswers, arrange

_MEMBER = "task1/run.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold


def team_zip(team: str, edition: Edition = GI_2023) -> str:
    """The name that the organisers ask for.

    Raises:
        UsageError: `team` would not make a plain file name, or this edition asks for no zip.
    """
    if edition.team_zip is None:
        raise UsageError(f"--team: {edition.name} takes {edition.run_file}, no team's zip: leave it out")
    name = edition.team_zip.format(team=team)
    if edition.team(name) != team:
        raise UsageError(f"--team {team!r}: a name of letters, digits, '_' and '-', at most 64")
    return name


def is_team_zip(path: Path) -> bool:
    """Whether `path` is named `<team>_clef2023_medvqa.zip`."""
    return GI_2023.team(path.name) is not None


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
    """The organisers' layout, one image to a line."""
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


def render_predictions(layout: Layout) -> bytes:
    """The list of later editions, one answer to a line: `{"predictions": [{index, img_id, question, answer}, …]}`."""
    pairs = [(image_id, entry) for image_id, entries in layout.items() for entry in entries]
    rows = (
        {"index": index, "img_id": image_id, "question": entry["Question"], "answer": join_answers(entry["Answer"])}
        for index, (image_id, entry) in enumerate(pairs)
    )
    return ('{"predictions": [\n' + ",\n".join(map(_json, rows)) + "\n]}\n").encode()


RENDERERS = {".csv": render_csv, ".json": render_json, ".zip": render_zip}


def render_run(
    path: Path,
    answers: PairAnswers,
    image_ids: Sequence[str],
    *,
    edition: Edition = GI_2023,
    form: Form = "list",
) -> bytes:
    """`answers` in the format of `path`'s suffix, read back and found the same.

    Args:
        answers: in the spelling of the profile.
        form: how JSON holds an answer: a list of strings, or one string, `Pink; Red`.

    Raises:
        UsageError: the suffix is none of .csv, .json, .zip, or not what the profile or the form allows.
        MedvqaError: it would not read back as it was meant.
    """
    allowed = list(edition.run_formats)
    if path.suffix not in allowed:
        raise UsageError(f"--out {path.name}: runs are written as {', '.join(allowed)}")
    layout = arrange(answers, image_ids, edition)
    if form == "string" and edition.run_formats[path.suffix] in ("json", "zip"):
        layout = as_strings(layout)
    render = render_predictions if edition.run_formats[path.suffix] == "predictions" else RENDERERS[path.suffix]
    try:
        content = render(layout)
    except UnicodeEncodeError as error:
        raise MedvqaError(f"an answer cannot be written as UTF-8: {error.object[error.start : error.end]!r}") from error
    if not _reads_back(content, path, answers, edition):
        raise MedvqaError(f"{path} would not read back as it is meant; nothing was written")
    return content


def write_run(path: Path, answers: PairAnswers, image_ids: Sequence[str]) -> None:
    """Write what `render_run` makes of `answers`, whole or not at all.

    Raises:
        MedvqaError: what `render_run` raises, or `path` cannot be written; the old file stands.
    """
    write_together({path: render_run(path, answers, image_ids)})


def as_strings(layout: Layout) -> Layout:
    """The same with every answer as one string, `Pink; Red`."""
    return {
        image_id: [{**entry, "Answer": join_answers(entry["Answer"])} for entry in entries]
        for image_id, entries in layout.items()
    }


def _reads_back(content: bytes, path: Path, answers: PairAnswers, edition: Edition) -> bool:
    reading = examine(content, str(path), path.suffix, edition)
    return not reading.faults and as_lists(reading) == dict(answers)
