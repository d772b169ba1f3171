"""The rows of a run in CSV, as `medvqa package` writes it: one per answer, a set in one cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import itemgetter

from imageclef_vqa.submission.findings import number
from imageclef_vqa.submission.reading import Reading
from imageclef_vqa.submission.records import COLUMNS, Row, cell_answers

_MOST_LINES = 1_000_000  # nearly all of them empty, in a file of 16 MiB
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars", ":": "colons"}


def csv_rows(text: str, reading: Reading) -> Iterator[Row]:
    """The rows of `text`; what is wrong with it goes to `reading`."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    name = reading.name
    try:
        header = next(reader, [])
        if sorted(header) != sorted(COLUMNS):
            _fault_of_header(header, reading)
            return
        if tuple(header) != COLUMNS:
            message = f"columns stand in the order {', '.join(header)}"
            remedy = f"write {', '.join(COLUMNS)}: a reader may go by position"
            reading.odd("error", "columns", ["row 1"], message, remedy)
        _note_line_ends(text, reading)
        in_order = itemgetter(*(header.index(column) for column in COLUMNS))
        empty: list[str] = []
        between = 0  # of them, with rows behind: editors leave one at the end
        for row, cells in enumerate(reader, start=2):
            where = f"{name}, row {row}"
            if reading.hopeless(where):
                return
            if reader.line_num > _MOST_LINES:
                reading.fault("size", f"{where}: over {_MOST_LINES:,} lines, too many for a run")
                return
            if not cells:
                empty.append(f"row {row}")
                continue
            between = len(empty)
            if len(cells) != len(COLUMNS):
                reading.fault("cells", f"{where}: {len(cells)} columns, not {len(COLUMNS)}")
                continue
            image_id, question_id, question, answer = in_order(cells)
            yield where, image_id, _whole_number(question_id), question, cell_answers(answer)
    except csv.Error as error:
        quote = ": is a quotation mark never closed?" * ("limit" in str(error) or "end of data" in str(error))
        reading.fault("syntax", f"{name}, line {reader.line_num}: {error}{quote}")
        return
    if between:
        message = f"{number(between, 'line is', 'lines are')} empty, with rows behind"
        reading.odd(
            "warning", "empty-lines", empty[:between], message, "write no empty lines: not every reader skips them"
        )
    if not text.endswith("\n"):
        message, remedy = "the last line has no end", "look whether the file was cut off; a line ends with a line feed"
        reading.odd("warning", "cut-off", [f"line {reader.line_num}"], message, remedy)


def _note_line_ends(text: str, reading: Reading) -> None:
    windows = text.count("\r\n")
    alone = text.count("\r") - windows
    if windows:
        message = f"{number(windows, 'line ends', 'lines end')} as on Windows (CR LF)"
        reading.odd("warning", "line-ends", ["line 1"], message, "LF alone is safest")
    if alone:
        message = f"{number(alone, 'carriage return stands', 'carriage returns stand')} alone"
        reading.odd("error", "line-ends", ["line 1"], message, "end lines with LF: many readers see one long line")


def _fault_of_header(header: Sequence[str], reading: Reading) -> None:
    shown = ", ".join(header)[:80]
    why = ""
    if not header:
        why = ": an empty line comes first"
    elif header[0].lstrip().startswith(("{", "[")):
        why = ": this is JSON: name it .json"
    elif "\0" in shown:
        shown, why = shown.replace("\0", ""), ": with NUL bytes, as UTF-16 has them: save it as UTF-8"
    elif len(header) == 1:
        used = next((said for sign, said in _DELIMITERS.items() if sign in header[0]), None)
        why = f": separated by {used}, not by commas" if used else ""
    elif set(COLUMNS) < set(header):
        extra = [repr(column)[:40] for column in header if column not in COLUMNS]
        why = f": one column too many, {extra[0]}" if len(extra) == 1 else ": more columns than these"
    elif len(header) == len(COLUMNS) and header[1].strip().isdigit():
        why = ": the header is missing"
    elif [column.strip().casefold() for column in header] == [column.casefold() for column in COLUMNS]:
        why = ": write them just so"
    reading.fault("columns", f"{reading.name}, row 1: columns are {shown}, not {', '.join(COLUMNS)}{why}")


@lru_cache(maxsize=1 << 10)  # there are 18
def _whole_number(cell: str) -> int | str:
    return int(cell) if cell.isascii() and cell.isdigit() and len(cell) < 4 and cell == str(int(cell)) else cell
