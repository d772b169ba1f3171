"""Rows of tables as people publish them: JSON lines, CSV and Parquet, one row at a time.

Also ms-swift's training files, whose rows are `{"messages": [{role, content}, …], "images": [path]}`.
"""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imageclef_vqa.errors import DataError, UsageError
from imageclef_vqa.inputs import open_input, open_text

SUFFIXES = (".jsonl", ".csv", ".parquet")
_SPLITS = {"development": ("train",), "test": ("test", "validation", "val")}
_ROWS = 64  # of Parquet in memory; a row may hold a picture


class TableRow(NamedTuple):
    """A row as its file has it, and a text that locates it; None is a row that cannot be read, for `fault`."""

    where: str
    content: dict[str, Any] | None
    fault: str = ""


def table_files(given: Sequence[Path], to: str) -> list[Path]:
    """The tables among `given`; of a folder as the hub's client leaves it, those that belong to `to` by their names.

    Raises:
        UsageError: a file of another kind, or a folder without tables.
    """
    files = []
    for path in given:
        if not path.is_dir():
            if path.suffix not in SUFFIXES:
                raise UsageError(f"{path}: give files of {', '.join(SUFFIXES)}, or a folder of them")
            files.append(path)
            continue
        hidden = [each for each in sorted(path.rglob("*")) if each.suffix in SUFFIXES and each.is_file()]
        found = [each for each in hidden if not any(part[0] == "." for part in each.relative_to(path).parts)]
        named = [each for each in found if any(each.stem.lower().startswith(name) for name in _SPLITS[to])]
        named = named or [each for each in found if any(name in each.stem.lower() for name in _SPLITS[to])]
        other = [
            each for each in found if any(name in each.stem.lower() for names in _SPLITS.values() for name in names)
        ]
        if not (named or (found and not other)):
            raise UsageError(f"{path}: no {', '.join(SUFFIXES)} there for {to} ({' or '.join(_SPLITS[to])})")
        files += named or found
    return files


def read_table(path: Path, *, pictures: bool) -> Iterator[TableRow]:
    """The rows of a table, from first to last; without `pictures`, a column of pictures is not read.

    Raises:
        FileError, DataError: the file cannot be read.
    """
    try:
        if path.suffix == ".parquet":
            yield from _parquet(path, pictures)
        elif path.suffix == ".csv":
            yield from _csv(path)
        else:
            yield from _jsonl(path)
    except csv.Error as error:
        raise DataError([f"{path}: cannot be read ({error})"]) from error


def _jsonl(path: Path) -> Iterator[TableRow]:
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}, line {number}"
            try:
                content = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield TableRow(where, None, f"not JSON ({error})")
                continue
            if isinstance(content, dict):
                yield TableRow(where, content)
            else:
                yield TableRow(where, None, "not an object")


def _csv(path: Path) -> Iterator[TableRow]:
    with open_text(path, newline="") as file:
        reader = csv.DictReader(file, strict=True)
        for number, row in enumerate(reader, start=2):
            where = f"{path}, row {number}"
            if None in row or None in row.values():
                yield TableRow(where, None, f"not {len(reader.fieldnames or ())} columns")
            else:
                yield TableRow(where, {name: _cell(name, value) for name, value in row.items()})


def _cell(name: str, text: str) -> Any:
    """A cell as the columns of Kvasir-VQA-x1 hold it: lists as JSON or as Python writes them, whole numbers."""
    if name == "complexity":
        return int(text) if text.isascii() and text.isdigit() else (text or None)
    if name in ("question_class", "original") and text.startswith(("[", "{")):
        for parse in (json.loads, ast.literal_eval):
            try:
                return parse(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    return text or None


def _parquet(path: Path, pictures: bool) -> Iterator[TableRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_input(path) as content, pq.ParquetFile(content) as file:
            columns = [name for name in file.schema_arrow.names if pictures or name != "image"]
            number = 0
            for batch in file.iter_batches(_ROWS if "image" in columns else 4096, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield TableRow(f"{path}, row {number}", row)
    except (pa.ArrowException, UnicodeError) as error:
        raise DataError([f"{path}: not Parquet, cut off or damaged ({error})"], remedy="download it again") from error


def conversation(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of ms-swift as one of `img_id, question, answer`; other rows as they are.

    Raises:
        ValueError: not one picture, or not one question with at most one answer.
    """
    if "messages" not in row:
        return dict(row)
    messages, images = row["messages"], row.get("images")
    first = images[0] if isinstance(images, list) and len(images) == 1 else images
    path = first.get("path") if isinstance(first, Mapping) else first
    if not isinstance(path, str):
        raise ValueError("images names not one picture")
    if not isinstance(messages, list) or not all(isinstance(each, Mapping) for each in messages):
        raise ValueError("messages is no list of {role, content}")
    said = {role: [each.get("content") for each in messages if each.get("role") == role] for role in _ROLES}
    if len(said["user"]) != 1 or len(said["assistant"]) > 1 or not isinstance(said["user"][0], str):
        raise ValueError("messages hold not one question with its answer")
    question = said["user"][0].replace("<image>", "").strip()
    answer = said["assistant"][0] if said["assistant"] else None
    return {"img_id": Path(path).stem, "question": question, "answer": answer, "image_path": path}


_ROLES = ("user", "assistant")
