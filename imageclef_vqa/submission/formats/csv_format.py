"""A run as CSV: one row per answer; a set of answers in one cell, as `join_answers` writes it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from operator import itemgetter

from imageclef_vqa.editions import Edition, join_answers
from imageclef_vqa.errors import counted
from imageclef_vqa.submission.formats.parsed import ParsedRun, Row, cell_answers
from imageclef_vqa.submission.run import COLUMNS, Layout

_MOST_LINES = 1_000_000  # in 16 MiB, nearly all of them would be empty
_NULS = ": with NUL bytes, as UTF-16 has them: save it as UTF-8"
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars", ":": "colons"}


def write(layout: Layout) -> bytes:
    """The rows of `layout`, with a header and LF at the end of each line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for image_id, entries in layout.items():
        for entry in entries:
            writer.writerow((image_id, entry["QuestionID"], entry["Question"], join_answers(entry["Answer"])))
    return text.getvalue().encode()


def read(text: str, parsed: ParsedRun, edition: Edition) -> Iterator[Row]:
    """The rows of `text`; faults and notes go to `parsed`."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if sorted(header) != sorted(COLUMNS):
            parsed.fault("columns", _wrong_header(header, parsed.name))
            return
        if tuple(header) != COLUMNS:
            message = f"the columns are in the order {', '.join(header)}"
            remedy = f"write {', '.join(COLUMNS)}: a reader may rely on the order"
            parsed.note("error", "columns", ["row 1"], message, remedy)
        _note_line_ends(text, parsed)
        columns = itemgetter(*(header.index(column) for column in COLUMNS))
        empty: list[str] = []
        followed = 0  # empty lines that a row follows; editors leave one at the end
        for number, cells in enumerate(reader, start=2):
            location = f"{parsed.name}, row {number}"
            if parsed.gives_up(location):
                return
            if reader.line_num > _MOST_LINES:
                parsed.fault("size", f"{location}: over {_MOST_LINES:,} lines, too many for a run")
                return
            if not cells:
                empty.append(f"row {number}")
                continue
            followed = len(empty)
            if len(cells) != len(COLUMNS):
                parsed.fault("cells", f"{location}: {len(cells)} columns, not {len(COLUMNS)}")
                continue
            image_id, question_id, question, answer = columns(cells)
            yield Row(location, image_id, _whole_number(question_id), question, cell_answers(answer))
    except csv.Error as error:
        why = ": is a quotation mark never closed?" * ("limit" in str(error) or "end of data" in str(error))
        why = _NULS if "NUL" in str(error) else why  # Python 3.10 reads none
        parsed.fault("syntax", f"{parsed.name}, line {reader.line_num}: {error}{why}")
        return
    if followed:
        message = f"{counted(followed, 'line is', 'lines are')} empty, with rows behind"
        remedy = "write no empty lines: not every reader skips them"
        parsed.note("warning", "empty-lines", empty[:followed], message, remedy)
    if not text.endswith("\n"):
        remedy = "check whether the file was cut off; a line ends with a line feed"
        parsed.note("warning", "cut-off", [f"line {reader.line_num}"], "the last line has no line end", remedy)


def _note_line_ends(text: str, parsed: ParsedRun) -> None:
    windows = text.count("\r\n")
    bare = text.count("\r") - windows
    if windows:
        message = f"{counted(windows, 'line ends', 'lines end')} as on Windows (CR LF)"
        parsed.note("warning", "line-ends", ["line 1"], message, "end lines with LF: every reader accepts it")
    if bare:
        message = f"{counted(bare, 'carriage return is', 'carriage returns are')} not followed by a line feed"
        parsed.note("error", "line-ends", ["line 1"], message, "end lines with LF: many readers see one long line")


def _wrong_header(header: Sequence[str], name: str) -> str:
    columns = ", ".join(header)[:80]
    why = ""
    if not header:
        why = ": an empty line comes first"
    elif header[0].lstrip().startswith(("{", "[")):
        why = ": this is JSON: name it .json"
    elif "\0" in columns:
        columns, why = columns.replace("\0", ""), _NULS
    elif len(header) == 1:
        used = next((name for sign, name in _DELIMITERS.items() if sign in header[0]), None)
        why = f": separated by {used}, not by commas" if used else ""
    elif set(COLUMNS) < set(header):
        extra = [repr(column)[:40] for column in header if column not in COLUMNS]
        why = f": one column too many, {extra[0]}" if len(extra) == 1 else ": more columns than these"
    elif len(header) == len(COLUMNS) and header[1].strip().isdigit():
        why = ": the header is missing"
    elif [column.strip().casefold() for column in header] == [column.casefold() for column in COLUMNS]:
        why = ": the spelling must be exact"
    return f"{name}, row 1: columns are {columns}, not {', '.join(COLUMNS)}{why}"


def _whole_number(cell: str) -> int | str:
    return int(cell) if cell.isascii() and cell.isdigit() and len(cell) < 4 and cell == str(int(cell)) else cell
