"""The run within a zip archive, which may be hostile: read in memory, up to a size, and never unpacked."""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from pathlib import PurePosixPath

from imageclef_vqa.errors import DataError

LARGEST = 16 * 2**20  # bytes; 1,938 images take 4 MiB
_MOST_MEMBERS = 20
_END = 22  # bytes of the end-of-directory record, which the comment follows (APPNOTE 4.3.16)
_TOO_LARGE = f"unpacks to over {LARGEST >> 20} MiB, too large for a run"
_UNSOUND = (zipfile.BadZipFile, zlib.error, struct.error, EOFError)
_NAME = re.compile(r"[A-Za-z0-9_ ./()+-]{1,200}")  # on every system the same
_DEVICE = re.compile(r"(?:CON|PRN|AUX|NUL|COM\d|LPT\d)(?:\..*)?", re.IGNORECASE)  # of Windows, whatever follows
_HEADER, _DESCRIPTOR = 30, 24  # bytes of a local header without its names; of what may follow the data (4.3.7, 4.3.9)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what every program unpacks
_ARCHIVES = (".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar", ".zst")
_REMEDY = "a run's archive holds task1/ with one .json or .csv file"


def only_member(content: bytes, name: str) -> tuple[str, str, bytes]:
    """The one run in an archive: its name within `name`, its suffix and its bytes.

    Raises:
        DataError: everything that makes the archive unsafe, unsound or ambiguous.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if not _fills(content, archive):
                raise DataError(
                    [f"{name}: bytes before or behind the archive, or within it, belong to no file"], remedy=_REMEDY
                )
            member = _the_run(archive.infolist(), name)
            with archive.open(member) as file:
                run = file.read(LARGEST + 1)
    except (*_UNSOUND, OSError, RuntimeError, ValueError) as error:
        raise DataError([f"{name}: not a sound zip archive: {error}"], remedy=_REMEDY) from error
    if len(run) > LARGEST:
        raise DataError([f"{name}, {member.filename[:80]!r}: {_TOO_LARGE}"], remedy=_REMEDY)
    return f"{name}, {member.filename}", PurePosixPath(member.filename).suffix.lower(), run


def _fills(content: bytes, archive: zipfile.ZipFile) -> bool:
    """Whether the archive is all of `content`: a file may be two archives, or one and something else at once."""
    end = content[len(content) - _END - len(archive.comment) :]
    filled = 0
    for member in sorted(archive.infolist(), key=lambda each: each.header_offset):
        start = member.header_offset
        if not filled <= start <= filled + _DESCRIPTOR * (filled > 0):
            return False
        names = content[start + _HEADER - 4 : start + _HEADER]
        filled = start + _HEADER + sum(struct.unpack("<HH", names)) + member.compress_size
    return filled <= archive.start_dir <= filled + _DESCRIPTOR and end.startswith(b"PK\5\6")


def _the_run(members: list[zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    if len(members) > _MOST_MEMBERS:
        raise DataError([f"{name}: holds {len(members)} files"], remedy=_REMEDY)
    faults = [(member.filename[:80], fault) for member in members if (fault := _fault(member))]
    if faults:
        raise DataError([f"{name}, {file!r}: {fault}" for file, fault in faults], remedy=_REMEDY)
    files = [member for member in members if not member.is_dir()]
    if repeated := [name for name, count in Counter(member.filename for member in files).items() if count > 1]:
        raise DataError([f"{name}, {file[:80]!r}: stands twice in the archive" for file in repeated], remedy=_REMEDY)
    if len(files) != 1:
        listed = ", ".join(member.filename[:80] for member in files) or "nothing"
        raise DataError([f"{name}: holds {listed}"], remedy=_REMEDY)
    above = [f"{folder}/" for folder in PurePosixPath(files[0].filename).parents]
    if strays := [member.filename[:80] for member in members if member.is_dir() and member.filename not in above]:
        raise DataError([f"{name}, {folder!r}: a folder without the run" for folder in strays], remedy=_REMEDY)
    return files[0]


def _fault(member: zipfile.ZipInfo) -> str | None:
    place = PurePosixPath(member.filename.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or ":" in member.filename:
        return "leads out of the archive"
    mode = member.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "is a symbolic link"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is no plain file"
    if member.flag_bits & 1:
        return "is encrypted"
    if place.parts[:1] == ("__MACOSX",) or place.name in (".DS_Store", "Thumbs.db") or place.name.startswith("._"):
        return "was added by the system that made the archive, and is no part of a run"
    if place.suffix.lower() in _ARCHIVES:
        return "is an archive within the archive"
    if not member.is_dir() and place.suffix.lower() not in (".csv", ".json"):
        return "is neither .json nor .csv"
    if not _NAME.fullmatch(member.filename) or place.name.startswith(".") or any(map(_DEVICE.fullmatch, place.parts)):
        return "is hidden, or has a name that not every system can hold"
    if member.compress_type not in _METHODS:
        return "is compressed in a way that not every program unpacks: deflate is"
    if member.file_size > LARGEST:
        return f"{_TOO_LARGE}: a decompression bomb"
    return None
