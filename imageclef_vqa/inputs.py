"""Reading files from outside: regular files of a bounded size, and an error that says why one cannot be read.

A pipe or a device is refused at once: reading it might never end. Nothing is read before that is known.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TextIO, TypeVar

from pydantic import BaseModel, Field, ValidationError

from imageclef_vqa.errors import DamagedFileError, FileError, MissingFileError, file_error

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Model = TypeVar("Model", bound=BaseModel)

# A name of a file or folder in settings: longer ones exist on no system, and none has a null character.
FileName = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]

LARGEST = 1 << 28  # bytes of a file that is read whole: labels of 6,500 images have 40 MB, their sentences 100 MB
_LARGEST_TOML = 1 << 16  # bytes; the time that a TOML file takes may grow with the square of its size
_INT64 = 1 << 63
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a link",
}


@contextmanager
def open_input(path: Path) -> Iterator[BinaryIO]:
    """`path`, open for reading; every reader of a file from outside opens it here.

    Raises:
        MissingFileError: there is no such file.
        FileError: it cannot be read, or is a folder, a pipe, a device or a socket.
    """
    with open(_descriptor(path), "rb") as file:
        try:
            yield file
        except OSError as error:
            raise file_error(path, error, "read") from error


def _descriptor(path: Path) -> int:
    """The descriptor of a regular file; a pipe that nobody writes to would block the call without O_NONBLOCK."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(f"cannot read {path}: there is no such file") from error
    except OSError as error:
        raise file_error(path, error, "read") from error
    except ValueError as error:  # a null character, or half of a surrogate pair
        raise MissingFileError(f"cannot read {str(path)!r}: no file can have this name") from error
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise FileError(
            f"cannot read {path}: it is {KINDS.get(kind, 'something else')}, not a file",
            remedy="copy what it holds into a file, and name that",
        )
    return descriptor


@contextmanager
def open_text(path: Path, newline: str = "\n") -> Iterator[TextIO]:
    """A file in UTF-8, with or without a byte order mark, open for reading line by line; `newline` as for `open`.

    Raises:
        FileError: as `open_input`; DamagedFileError: it is not UTF-8.
    """
    with open_input(path) as file, TextIOWrapper(file, "utf-8-sig", newline=newline) as text:
        try:
            yield text
        except UnicodeDecodeError as error:
            raise DamagedFileError(f"{path}: not UTF-8", remedy="save it as UTF-8") from error


def read_bytes(path: Path, largest: int = LARGEST) -> bytes:
    """The content of a file of at most `largest` bytes.

    Raises:
        FileError: as `open_input`, or the file is larger.
    """
    with open_input(path) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise FileError(f"cannot read {path}: it is larger than {largest / 2**20:g} MiB", remedy="name another file")
    return content


def read_text(path: Path, largest: int = LARGEST) -> str:
    """The content of a file in UTF-8, or in UTF-16 with a byte order mark, as Windows PowerShell writes lists.

    Raises:
        FileError: as `read_bytes`; DamagedFileError: it is not UTF-8.
    """
    content = read_bytes(path, largest)
    try:
        return content.decode("utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DamagedFileError(f"{path}, line {line}: not UTF-8", remedy="save it as UTF-8") from error


def parse_json(text: str | bytes, hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The value that JSON text holds; `hook` makes objects from their pairs, as in `json.loads`.

    Raises:
        ValueError: not JSON, nested too deeply, or with a number of thousands of digits.
    """
    try:
        return json.loads(text, object_pairs_hook=hook)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        FileError: as `read_bytes`; DamagedFileError: it is not JSON.
    """
    content = read_bytes(path)
    try:
        return parse_json(content)
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged: not JSON: {error}") from error


def read_model(path: Path, kind: type[Model], remedy: str | None = None) -> Model:
    """What a JSON file holds, checked by the Pydantic model `kind`.

    Raises:
        FileError: as `read_bytes`; DamagedFileError, with `remedy`: it holds something else.
    """
    content = read_bytes(path)
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "file"
        raise DamagedFileError(f"{path} is damaged: {field}: {first['msg']}", remedy=remedy) from error


def faults_of(kind: type[BaseModel], content: Mapping[str, Any]) -> list[str]:
    """What is wrong with a table of settings, one line for each key; nothing if `kind` accepts it."""
    try:
        kind.model_validate(content)
    except ValidationError as error:
        return [_fault(each, kind.model_fields) for each in error.errors(include_url=False)]
    return []


def _fault(fault: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    name = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"{name}: unknown; there are {', '.join(known)}"
    return f"{name}: {fault['msg'][0].lower()}{fault['msg'][1:]}, not {fault['input']!r:.80}"


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a TOML file; its integers have 64 bits, as TOML says.

    Raises:
        FileError: as `read_text`; DamagedFileError: it is not TOML.
    """
    text = read_text(path, _LARGEST_TOML)
    try:
        content = tomllib.loads(text)
        _check_integers(content)
    except RecursionError as error:
        raise DamagedFileError(f"{path}: not TOML: nested too deeply") from error
    except ValueError as error:  # syntax, and numbers of thousands of digits
        raise DamagedFileError(f"{path}: not TOML: {error}") from error
    return content


def _check_integers(value: Any) -> None:
    """Reject hexadecimal integers of any length, which tomllib reads and Python then refuses to print."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _check_integers(each)
    elif isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise ValueError("an integer of more than 64 bits")


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits; the file is read in blocks of 1 MiB.

    Raises:
        FileError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with open_input(path) as file:
        while block := file.read(2**20):  # hashlib.file_digest needs Python 3.11
            digest.update(block)
    return digest.hexdigest()
