"""Writing without accidents: a file is there whole or not at all.

Only regular files and new ones are written, never what a link points to, a pipe or a device. A partial file is locked
by its writer: what a killed process left is not, and the next writer removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from imageclef_vqa.errors import FileError, MedvqaError, file_error
from imageclef_vqa.inputs import KINDS, read_bytes

_PART = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # as `tempfile` names what is made here


def check_output(path: Path) -> None:
    """Reject a path that cannot be written, before any work is done for it.

    Raises:
        FileError: it is a folder, a link, a pipe or a device, or it cannot be looked at.
    """
    try:
        kind = stat.S_IFMT(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise _refused(path, error) from error
    if kind != stat.S_IFREG:
        raise FileError(
            f"cannot write {path}: it is {KINDS.get(kind, 'something else')}, not a file",
            remedy="name a file or a new one; nothing was changed",
        )


def _refused(path: Path, error: OSError | ValueError) -> FileError:
    """An error for names that no file can have, too: those with a null character or half of a surrogate pair."""
    return file_error(path, error if isinstance(error, OSError) else OSError(0, str(error)), "write")


@contextmanager
def _part_of(path: Path, mode: str) -> Iterator[tuple[IO[Any], Path]]:
    """An open file beside `path`, and its name; both are gone at the end, unless the name was given to `path`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_output(path)
        descriptor, part = _new_part(path, tempfile.mkstemp)
    except (OSError, ValueError) as error:
        raise _refused(path, error) from error
    try:
        text = "b" not in mode
        with open(descriptor, mode, encoding="utf-8" if text else None, newline="" if text else None) as file:
            yield file, part
    except OSError as error:
        raise _refused(path, error) from error
    except UnicodeEncodeError as error:
        unfit = ascii(error.object[error.start : error.end])
        raise FileError(f"cannot write {path}: {unfit} is not UTF-8", remedy="rename what is called so") from error
    finally:
        part.unlink(missing_ok=True)


def _new_part(path: Path, make: Any) -> tuple[int, Path]:
    """A new file or folder beside `path`, made by `make` of `tempfile`, and the descriptor that locks it."""
    remove_leftovers(path.parent)
    while True:
        made = make(dir=path.parent, prefix=f".{path.name[:200]}.", suffix=".part")
        descriptor, name = made if isinstance(made, tuple) else (os.open(made, os.O_RDONLY), made)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.path.lexists(name):
            return descriptor, Path(name)
        os.close(descriptor)  # another process took it for a left-over before it was locked


def remove_leftovers(folder: Path) -> None:
    """Remove the partial files and folders that killed processes left in `folder`; those of living ones are locked."""
    with contextlib.suppress(OSError):
        for part in [each for each in folder.iterdir() if _PART.fullmatch(each.name)]:
            with contextlib.suppress(OSError):
                descriptor = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(part) if part.is_dir() else part.unlink()
                finally:
                    os.close(descriptor)


def _finish(file: IO[Any], part: Path) -> None:
    """All of `file` on the disk, with the rights that a new file has."""
    file.flush()
    os.fsync(file.fileno())
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(part, 0o666 & ~umask)


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that takes the place of `path` only if the block ends well.

    Raises:
        FileError: the folder cannot be made or written, `path` is no regular file, or the disk is full; `path` is as
            it was.
    """
    with _part_of(path, mode) as (file, part):
        yield file
        _finish(file, part)
        os.replace(part, path)


def write_together(files: Mapping[Path, bytes]) -> None:
    """Replace a file and those that describe it; all are written, and read back, before any is touched.

    Whenever the machine stops, the first one is there whole, the old or the new, and beside it what describes it, or
    nothing.

    Raises:
        MedvqaError: one cannot be written, or does not read back; all are as they were.
    """
    described, *others = files
    with ExitStack() as opened:
        parts = {path: opened.enter_context(_part_of(path, "wb")) for path in files}
        for path, (file, part) in parts.items():
            file.write(files[path])
            _finish(file, part)
            if read_bytes(part, len(files[path])) != files[path]:
                raise MedvqaError(f"{path} does not hold what was written to it", remedy="write it to another disk")
        for path in others:
            path.unlink(missing_ok=True)
        for path in (described, *others):
            os.replace(parts[path][1], path)


@contextmanager
def new_folder(folder: Path, remedy: str) -> Iterator[Path]:
    """An empty folder that becomes `folder`, which may be empty, too, only if the block ends well.

    Raises:
        FileError: there is something at `folder`, or it cannot be made or written.
    """
    try:
        if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
            raise FileError(f"{folder} already exists and is not empty", remedy=remedy)
        with folder_beside(folder) as part:
            yield part
            os.chmod(part, 0o755)
            os.replace(part, folder)
    except (OSError, ValueError) as error:
        raise _refused(folder, error) from error


@contextmanager
def folder_beside(folder: Path) -> Iterator[Path]:
    """An empty folder on the disk of `folder`, from which it or its files can be replaced; gone at the end.

    Raises:
        OSError: it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = _new_part(folder, tempfile.mkdtemp)
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        os.close(descriptor)


@contextmanager
def atomic_files(folder: Path) -> Iterator[Path]:
    """An empty folder whose files take their places in `folder` only if the block ends well, `config.json` last.

    Raises:
        FileError: the folder cannot be made or written, or the disk is full; `folder` is as it was.
    """
    try:
        with folder_beside(folder) as part:
            yield part
            folder.mkdir(exist_ok=True)
            for file in sorted(part.iterdir(), key=lambda file: file.name == "config.json"):
                check_output(folder / file.name)
                os.replace(file, folder / file.name)
    except OSError as error:
        raise _refused(folder, error) from error


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` (UTF-8), whole or not at all."""
    with atomic_write(path) as file:
        file.write(text)


def write_json(path: Path, content: Any, *, indent: int | None = 2) -> None:
    """Replace `path` by JSON, whole or not at all."""
    write_text(path, json_text(content, indent=indent))


def json_text(content: Any, *, indent: int | None = 2) -> str:
    """JSON as all files of this program hold it."""
    return json.dumps(content, ensure_ascii=False, indent=indent, allow_nan=False) + "\n"


def append_text(path: Path, text: str) -> None:
    """Write `text` at the end of `path`.

    Raises:
        FileError: as `open_append`, or the disk is full.
    """
    try:
        with open_append(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise _refused(path, error) from error


def open_append(path: Path) -> IO[bytes]:
    """`path`, open for reading and for writing at its end; a new file if there is none.

    Raises:
        FileError: it is a link, has another name elsewhere, is no file, or cannot be written.
    """
    try:
        check_output(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = open(os.open(path, flags, 0o666), "r+b")  # noqa: SIM115 (the caller closes it)
    except OSError as error:
        raise _refused(path, error) from error
    if os.fstat(file.fileno()).st_nlink > 1:
        file.close()
        raise FileError(f"cannot write {path}: the same file has another name elsewhere", remedy=f"remove {path}")
    return file
