"""A run in a zip archive: read in memory, up to a size, never unpacked; the archive may be hostile."""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from pathlib import PurePosixPath
from typing import NamedTuple

from imageclef_vqa.errors import DataError
from imageclef_vqa.submission.formats.parsed import LARGEST

FOLDER = "task1"
_MEMBER = f"{FOLDER}/run.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip; a fixed date makes equal runs equal files
_MOST_MEMBERS = 20
# Sizes in bytes (APPNOTE 4.3.7, 4.3.9, 4.3.16): a local header without its names, the descriptor that may follow the
# data, and the end-of-directory record without its comment.
_HEADER, _DESCRIPTOR, _END = 30, 24, 22
_UNSOUND = (zipfile.BadZipFile, zlib.error, struct.error, EOFError)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # every program unpacks these
_NAME = re.compile(r"[A-Za-z0-9_ ./()+-]{1,200}")  # valid on every system
_DEVICE = re.compile(r"(?:CON|PRN|AUX|NUL|COM\d|LPT\d)(?:\..*)?", re.IGNORECASE)  # reserved by Windows
_ARCHIVES = (".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar", ".zst")
_REMEDY = "a run's archive holds task1/ with one .json or .csv file"


class Member(NamedTuple):
    """The only file of an archive."""

    name: str  # as the archive spells it: `./task1/run.json` is not `task1/run.json`
    content: bytes


def write(run: bytes) -> bytes:
    """A zip with `run`, which is JSON, as its only file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        member = zipfile.ZipInfo(_MEMBER, date_time=_EPOCH)
        member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
        archive.writestr(member, run)
    return buffer.getvalue()


def read(content: bytes, name: str) -> Member:
    """The run in an archive called `name`.

    Raises:
        DataError: the archive is unsafe, damaged or ambiguous; all reasons at once.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if not _fills(content, archive):
                problem = f"{name}: bytes before or behind the archive, or within it, belong to no file"
                raise DataError([problem], remedy=_REMEDY)
            member = _only_file(archive.infolist(), name)
            with archive.open(member) as file:
                run = file.read(LARGEST + 1)
    except (*_UNSOUND, OSError, RuntimeError, ValueError) as error:
        raise DataError([f"{name}: not a sound zip archive: {error}"], remedy=_REMEDY) from error
    if len(run) > LARGEST:  # the header may lie about the size
        raise DataError([f"{name}, {member.filename[:80]!r}: {_too_large()}"], remedy=_REMEDY)
    return Member(member.filename, run)


def _too_large() -> str:
    return f"unpacks to over {LARGEST >> 20} MiB, too large for a run"


def _fills(content: bytes, archive: zipfile.ZipFile) -> bool:
    """Whether every byte of `content` belongs to the archive.

    A file can be two archives at once, or an archive and something else; two programs would then read two runs.
    """
    end = content[len(content) - _END - len(archive.comment) :]
    filled = 0
    for member in sorted(archive.infolist(), key=lambda each: each.header_offset):
        start = member.header_offset
        if not filled <= start <= filled + _DESCRIPTOR * (filled > 0):
            return False
        names = content[start + _HEADER - 4 : start + _HEADER]
        filled = start + _HEADER + sum(struct.unpack("<HH", names)) + member.compress_size
    return filled <= archive.start_dir <= filled + _DESCRIPTOR and end.startswith(b"PK\5\6")


def _only_file(members: list[zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    if len(members) > _MOST_MEMBERS:
        raise DataError([f"{name}: holds {len(members)} files"], remedy=_REMEDY)
    if faults := [(member.filename[:80], fault) for member in members if (fault := _fault(member))]:
        raise DataError([f"{name}, {file!r}: {fault}" for file, fault in faults], remedy=_REMEDY)
    files = [member for member in members if not member.is_dir()]
    if repeated := [file for file, count in Counter(member.filename for member in files).items() if count > 1]:
        raise DataError([f"{name}, {file[:80]!r}: stands twice in the archive" for file in repeated], remedy=_REMEDY)
    if len(files) != 1:
        listed = ", ".join(member.filename[:80] for member in files) or "nothing"
        raise DataError([f"{name}: holds {listed}"], remedy=_REMEDY)
    above = [f"{folder}/" for folder in PurePosixPath(files[0].filename).parents]
    if others := [member.filename[:80] for member in members if member.is_dir() and member.filename not in above]:
        raise DataError([f"{name}, {folder!r}: a folder without the run" for folder in others], remedy=_REMEDY)
    return files[0]


def _fault(member: zipfile.ZipInfo) -> str | None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in member.filename:
        return "leads out of the archive"
    mode = member.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "is a symbolic link"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is not a regular file"
    if member.flag_bits & 1:
        return "is encrypted"
    if path.parts[:1] == ("__MACOSX",) or path.name in (".DS_Store", "Thumbs.db") or path.name.startswith("._"):
        return "was added by the system that made the archive; it is not part of a run"
    if path.suffix.lower() in _ARCHIVES:
        return "is an archive within the archive"
    if not member.is_dir() and path.suffix.lower() not in (".csv", ".json"):
        return "is neither .json nor .csv"
    if not _NAME.fullmatch(member.filename) or path.name.startswith(".") or any(map(_DEVICE.fullmatch, path.parts)):
        return "is hidden, or has a name that not every system can hold"
    if member.compress_type not in _METHODS:
        return "is compressed by a method that not every program unpacks: use deflate"
    if member.file_size > LARGEST:
        return f"{_too_large()}: a decompression bomb"
    return None
