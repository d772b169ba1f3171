"""The formats of a run: CSV, the organisers' JSON, a list of later editions, and a zip with one of them.

Each module has a `read` and a `write`. A file may come from anybody: nothing in it is trusted before it is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from imageclef_vqa.editions import GI_2023, Edition, join_answers
from imageclef_vqa.editions.edition import RunFormat
from imageclef_vqa.errors import DataError, MedvqaError, UsageError
from imageclef_vqa.files import write_together
from imageclef_vqa.inputs import open_input
from imageclef_vqa.submission.formats import csv_format, json_format, predictions_format, zip_format
from imageclef_vqa.submission.formats.parsed import LARGEST, Form, ParsedRun, Row
from imageclef_vqa.submission.run import COLUMNS, Answers, Layout, Pair, PairAnswers, arrange

READERS: Mapping[RunFormat, Callable[[str, ParsedRun, Edition], Iterator[Row]]] = {
    "csv": csv_format.read,
    "json": json_format.read,
    "predictions": predictions_format.read,
}
WRITERS: Mapping[RunFormat, Callable[[Layout], bytes]] = {
    "csv": csv_format.write,
    "json": json_format.write,
    "zip": lambda layout: zip_format.write(json_format.write(layout)),
    "predictions": predictions_format.write,
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OTHER_FILES = {
    b"\xff\xfe\0\0": ", but UTF-32",
    b"\xff\xfe": ", but UTF-16, as spreadsheets write it",
    b"\xfe\xff": ", but UTF-16, as spreadsheets write it",
    b"PK": ", but a zip archive or a spreadsheet's own file",
    b"\x1f\x8b": ", but compressed by gzip",
}


def read_run(path: Path) -> dict[Pair, Answers]:
    """(image id, question id) → answers, in the order and the spelling of the file.

    Raises:
        MedvqaError: the file cannot be read.
        DataError: it is not a run; every fault has its row.
    """
    parsed = parse_run(read_bytes(path), str(path), path.suffix.lower())
    parsed.refuse()
    return parsed.answers


def read_bytes(path: Path) -> bytes:
    """The content of a run file, up to one byte more than a run may have.

    Raises:
        MedvqaError: it cannot be read.
    """
    with open_input(path) as file:
        return file.read(LARGEST + 1)


def parse_run(content: bytes, name: str, suffix: str, edition: Edition = GI_2023) -> ParsedRun:
    """Read as much of a run as can be read, with all that is wrong with the file."""
    parsed = ParsedRun(name)
    if len(content) > LARGEST:
        parsed.fault("size", f"{name}: over {LARGEST >> 20} MiB, too large for a run")
        return parsed
    if suffix == ".zip":
        try:
            member = zip_format.read(content, name)
        except DataError as error:
            for problem in error.problems:
                parsed.fault("archive", problem)
            return parsed
        if member.name.rpartition("/")[0] != zip_format.FOLDER:
            message = f"the run is not in the archive's folder {zip_format.FOLDER}/"
            remedy = "`medvqa package --team NAME` writes the archive"
            parsed.note("error", "archive-folder", [member.name], message, remedy)
        suffix, content = Path(member.name).suffix.lower(), member.content
        parsed.name = f"{name}, {member.name}"
    if suffix not in (".csv", ".json"):
        parsed.fault("kind", f"{parsed.name}: not a .csv, .json or .zip file")
        return parsed
    if (text := _decode(content, parsed)) is None:
        return parsed
    if not text.strip("\0 \t\r\n"):
        wanted = f", row 1: columns are , not {', '.join(COLUMNS)}" if suffix == ".csv" else ": not JSON"
        parsed.fault("columns" if suffix == ".csv" else "syntax", f"{parsed.name}{wanted}: the file is empty")
        return parsed
    read = READERS["csv" if suffix == ".csv" else edition.run_formats[".json"]]
    parsed.collect(read(text, parsed, edition), edition)
    return parsed


def _decode(content: bytes, parsed: ParsedRun) -> str | None:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        known = (what for start, what in _OTHER_FILES.items() if content.startswith(start))
        parsed.fault("text", f"{parsed.name}, line {line}: not UTF-8{next(known, '')}")
        return None
    if content.startswith(_BYTE_ORDER_MARK):
        message = "the file begins with a byte order mark: JSON readers refuse it, CSV readers take it for text"
        parsed.note("error", "byte-order-mark", ["byte 1"], message, "save it as UTF-8 without one")
    return text


def write_run(path: Path, answers: PairAnswers, image_ids: Sequence[str]) -> None:
    """Write what `render_run` makes of `answers`, completely or not at all.

    Raises:
        MedvqaError: what `render_run` raises, or `path` cannot be written; an old file is kept.
    """
    write_together({path: render_run(path, answers, image_ids)})


def render_run(
    path: Path,
    answers: PairAnswers,
    image_ids: Sequence[str],
    *,
    edition: Edition = GI_2023,
    form: Form = "list",
) -> bytes:
    """`answers` in the format of `path`'s suffix; they were read back and compared. Equal answers give equal bytes.

    Args:
        path: only its name is used.
        answers: in the spelling of the edition.
        image_ids: the test list, in order.
        form: how JSON holds an answer: a list of strings, or one string, `Pink; Red`.

    Raises:
        UsageError: the edition or the form does not allow this suffix.
        MedvqaError: the content does not read back as the same answers.
    """
    if path.suffix not in edition.run_formats:
        raise UsageError(f"--out {path.name}: runs are written as {', '.join(edition.run_formats)}")
    run_format = edition.run_formats[path.suffix]
    layout = arrange(answers, image_ids, edition)
    if form == "string" and run_format in ("json", "zip"):
        layout = as_strings(layout)
    try:
        content = WRITERS[run_format](layout)
    except UnicodeEncodeError as error:
        raise MedvqaError(f"an answer cannot be written as UTF-8: {error.object[error.start : error.end]!r}") from error
    parsed = parse_run(content, str(path), path.suffix, edition)
    if parsed.faults or parsed.as_lists() != dict(answers):
        raise MedvqaError(f"{path}: the run does not read back as the same answers; nothing was written")
    return content


def as_strings(layout: Layout) -> Layout:
    """The layout with every answer as one string, `Pink; Red`."""
    return {
        image_id: [{**entry, "Answer": join_answers(entry["Answer"])} for entry in entries]
        for image_id, entries in layout.items()
    }


def team_zip(team: str, edition: Edition = GI_2023) -> str:
    """The file name that the organisers ask for.

    Raises:
        UsageError: the edition asks for no zip, or `team` does not make a plain file name.
    """
    if edition.team_zip is None:
        raise UsageError(f"--team: {edition.name} takes {edition.run_file}, not the zip of a team: omit --team")
    name = edition.team_zip.format(team=team)
    if edition.team(name) != team:
        raise UsageError(f"--team {team!r}: a name of letters, digits, '_' and '-', at most 64")
    return name
