"""`submission_task2.jsonl`, explanations of answers (MediaEval Medico 2026, task 2): its lines, and their faults.

    {"val_id": 0, "img_id": …, "question": …, "answer": …, "textual_explanation": …,
     "visual_explanation": [{"type": "heatmap", "data": "visuals/0000_heatmap.png", "description": …},
                            {"type": "bounding_box", "data": [[x1, y1, x2, y2]], "description": …}],
     "confidence_score": 0.92}

`val_id` counts the rows that are asked, paths are relative to the file, boxes are in pixels of the picture. Nothing in
a file is trusted before it is checked.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from imageclef_vqa.errors import FileError
from imageclef_vqa.inputs import open_input, parse_json
from imageclef_vqa.submission.run import Finding, error, is_number

LARGEST = 1 << 26  # bytes; 1,500 lines take 2 MiB
_KINDS = ("heatmap", "segmentation_mask")  # whose data is the path of a picture
_BOX = "bounding_box"
_TEXTS = ("img_id", "question", "answer", "textual_explanation")
_KEYS = ("val_id", *_TEXTS, "visual_explanation", "confidence_score")
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_REMEDY = "`medvqa explain --task 2` writes the lines"

Size = tuple[int, int]  # width and height, pixels


class Asked(NamedTuple):
    """A row to be explained; its position among the rows is its `val_id`."""

    image_id: str
    question: str


def explanation_lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The file: one object to a line."""
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode()


def check_explanations(
    content: bytes, folder: Path, asked: Sequence[Asked] | None, size_of: Callable[[str], Size | None]
) -> list[Finding]:
    """Everything that is wrong with a file in `folder`.

    Args:
        asked: the rows; None: which rows there are is not checked.
        size_of: image id → width and height of the picture; None: boxes in it are only checked for their form.
    """
    problems = Problems()
    if len(content) > LARGEST:
        return [error("size", ["the file"], f"over {LARGEST >> 20} MiB, too large", _REMEDY)]
    rows = list(_rows(content, problems))
    for where, row in rows:
        _check_fields(where, row, problems)
        visuals = row.get("visual_explanation", [])
        for number, visual in enumerate(visuals if isinstance(visuals, list) else []):
            _check_visual(f"{where}, visual {number}", visual, row, folder, size_of, problems)
    _check_ids(rows, asked, problems)
    return problems.findings()


class Problems:
    """What is wrong, by kind, with the places where it was found."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, kind: str, where: str) -> None:
        self._found.setdefault(kind, []).append(where)

    def findings(self) -> list[Finding]:
        return [error(kind, places, *_MESSAGES[kind]) for kind, places in self._found.items()]


# kind → what is wrong, the remedy
_MESSAGES = {
    "syntax": ("lines that are no JSON object", _REMEDY),
    "duplicate-key": ("a key stands twice in an object, and readers keep one", _REMEDY),
    "key": ("keys that the task does not know", f"it has {', '.join(_KEYS)}"),
    "field": ("fields that are missing or hold something else", "texts are non-empty strings, val_id is a number"),
    "score": ("confidence scores that are no numbers from 0 to 1", "write a number from 0 to 1"),
    "visual": ("visual explanations of another form", "write a list of {type, data, description}"),
    "file": ("pictures that are not there", "write paths relative to the file, of PNG or JPEG pictures beside it"),
    "box": ("boxes that are not within their picture", "write [[x1, y1, x2, y2]] in pixels, x1 < x2 and y1 < y2"),
    "duplicate": ("rows that are explained twice", "write one line for each val_id"),
    "missing": ("rows that are not explained", "write one line for each val_id"),
    "unknown": ("val_ids that no row has", "val_id counts from 0"),
    "row": ("lines whose image or question is not that of their val_id", "copy img_id and question from the rows"),
}


def _rows(content: bytes, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of the file, each with its place."""
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"line {number}"
        repeated: list[str] = []

        def pairs(items: list[tuple[str, Any]], repeated: list[str] = repeated) -> dict[str, Any]:
            names = Counter(name for name, _ in items)
            repeated += [name for name, count in names.items() if count > 1]
            return dict(items)

        try:
            row = parse_json(line.decode("utf-8"), pairs)
        except ValueError as fault:
            problems.add("syntax", f"{where}: {fault}")
            continue
        if repeated:
            problems.add("duplicate-key", f"{where}: {', '.join(repeated)}")
        if not isinstance(row, dict):
            problems.add("syntax", f"{where}: {row!r:.60}")
            continue
        yield where, row


def _check_fields(where: str, row: Mapping[str, Any], problems: Problems) -> None:
    for name in row.keys() - set(_KEYS):
        problems.add("key", f"{where}: {name!r:.40}")
    if type(row.get("val_id")) is not int:
        problems.add("field", f"{where}: val_id is {row.get('val_id')!r:.40}")
    for name in _TEXTS:
        if not isinstance(row.get(name), str) or not row[name].strip():
            problems.add("field", f"{where}: {name} is {row.get(name)!r:.40}")
    score = row.get("confidence_score", 0.0)
    if not is_number(score) or not 0 <= score <= 1:
        problems.add("score", f"{where}: {score!r:.40}")
    if not isinstance(row.get("visual_explanation", []), list):
        problems.add("visual", f"{where}: {row['visual_explanation']!r:.40}")


def _check_visual(
    where: str,
    visual: Any,
    row: Mapping[str, Any],
    folder: Path,
    size_of: Callable[[str], Size | None],
    problems: Problems,
) -> None:
    kind, data = (visual.get("type"), visual.get("data")) if isinstance(visual, dict) else (None, None)
    known = isinstance(visual, dict) and isinstance(kind, str) and isinstance(visual.get("description", ""), str)
    if not known or visual.keys() - {"type", "data", "description"}:
        problems.add("visual", f"{where}: {visual!r:.60}")
    elif kind == _BOX or isinstance(data, list):
        image_id = row.get("img_id")
        size = size_of(image_id) if isinstance(image_id, str) else None
        if fault := _box_fault(data, size):
            problems.add("box", f"{where}: {fault}")
    elif kind not in _KINDS or not isinstance(data, str):
        problems.add("visual", f"{where}: {kind!r:.40} with data {data!r:.40}")
    elif fault := _file_fault(data, folder):
        problems.add("file", f"{where}: {data!r:.80} {fault}")


def _box_fault(boxes: Any, size: Size | None) -> str | None:
    """Why `boxes` are no list of boxes within a picture of this size."""
    if not isinstance(boxes, list) or not boxes:
        return f"{boxes!r:.60} is no list of boxes"
    for box in boxes:
        if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
            return f"{box!r:.60} is no box"
        x1, y1, x2, y2 = box
        if not (0 <= x1 < x2 and 0 <= y1 < y2) or (size is not None and (x2 > size[0] or y2 > size[1])):
            return f"{box!r:.60}" + (f" in a picture of {size[0]} × {size[1]}" if size is not None else "")
    return None


def _file_fault(data: str, folder: Path) -> str | None:
    """Why `data` is no path of a picture beneath `folder`."""
    path = PurePosixPath(data)
    if path.is_absolute() or ".." in path.parts or "\\" in data or not path.parts:
        return "is no path beneath the folder of the file"
    target = folder / path
    try:
        if not os.path.realpath(target).startswith(os.path.realpath(folder) + os.sep):
            return "leads out of the folder of the file"
        with open_input(target) as file:
            start = file.read(8)
    except (FileError, ValueError, OSError):
        return "does not exist, or cannot be read"
    return None if start.startswith((_PNG, _JPEG)) else "is no PNG or JPEG"


def _check_ids(
    rows: Sequence[tuple[str, Mapping[str, Any]]], asked: Sequence[Asked] | None, problems: Problems
) -> None:
    """Rows that are repeated, missing or others than asked."""
    counts = Counter(row["val_id"] for _, row in rows if type(row.get("val_id")) is int)
    for val_id, count in counts.items():
        if count > 1:
            problems.add("duplicate", f"val_id {val_id}: {count} lines")
    total = len(rows) if asked is None else len(asked)
    for val_id in range(total):
        if val_id not in counts:
            problems.add("missing", f"val_id {val_id}")
    for where, row in rows:
        val_id = row.get("val_id")
        if type(val_id) is not int:
            continue
        if not 0 <= val_id < total:
            problems.add("unknown", f"{where}: val_id {val_id}")
        elif asked is not None and asked[val_id] != (row.get("img_id"), row.get("question")):
            problems.add("row", f"{where}: {row.get('img_id')!r:.40}, {row.get('question')!r:.60}")
