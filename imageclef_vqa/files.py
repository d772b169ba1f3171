"""Writing without accidents: a file is there whole or not at all, and one run has one writer."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from imageclef_vqa.errors import MedvqaError


def _refused(path: Path, error: OSError) -> MedvqaError:
    return MedvqaError(
        f"cannot write {path}: {error.strerror or error}",
        remedy="choose a place that you may write to and that has room; nothing there was changed",
    )


@contextmanager
def _part_of(path: Path, mode: str) -> Iterator[tuple[IO[Any], Path]]:
    """An open file beside `path`, and its name; both are gone at the end, unless the name was given to `path`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise _refused(path, error) from error
    part = Path(name)
    try:
        text = "b" not in mode
        with open(descriptor, mode, encoding="utf-8" if text else None, newline="" if text else None) as file:
            yield file, part
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def _finish(file: IO[Any], part: Path) -> None:
    """All of `file` on the disk, with the rights that a new file has."""
    file.flush()
    os.fsync(file.fileno())
    umask = os.umask(0)
    os.umask(umask)
    part.chmod(0o666 & ~umask)


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that takes the place of `path` only if the block ends well.

    Raises:
        MedvqaError: the folder cannot be made or written, or the disk is full; `path` is as it was.
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
            if part.read_bytes() != files[path]:
                raise MedvqaError(f"{path} does not hold what was written to it", remedy="write it to another disk")
        for path in others:
            path.unlink(missing_ok=True)
        for path in (described, *others):
            os.replace(parts[path][1], path)


@contextmanager
def folder_beside(folder: Path) -> Iterator[Path]:
    """An empty folder on the disk of `folder`, from which it or its files can be replaced; gone at the end.

    Raises:
        OSError: it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def atomic_files(folder: Path) -> Iterator[Path]:
    """An empty folder whose files take their places in `folder` only if the block ends well, `config.json` last.

    Raises:
        MedvqaError: the folder cannot be made or written, or the disk is full; `folder` is as it was.
    """
    try:
        with folder_beside(folder) as part:
            yield part
            folder.mkdir(exist_ok=True)
            for file in sorted(part.iterdir(), key=lambda file: file.name == "config.json"):
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


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits; the file is read in blocks of 1 MiB.

    Raises:
        MedvqaError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):  # hashlib.file_digest needs Python 3.11
                digest.update(block)
    except OSError as error:
        raise MedvqaError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold `folder` for one process; the lock goes with the process, however it ends.

    Raises:
        MedvqaError: another process is writing there.
    """
    with _locked(folder, fcntl.LOCK_EX, "wait until it ends"):
        yield


@contextmanager
def run_writer(run: Path) -> Iterator[None]:
    """Hold the folder of a run for one process; other runs can be written, but `sole_writer` of all runs is refused.

    So nobody replaces the split, which is beside the runs, while a run is made from it.

    Raises:
        MedvqaError: another process is writing there, or holds the folder of all runs.
    """
    with (
        _locked(run.parent, fcntl.LOCK_SH, "wait until it ends"),
        _locked(run, fcntl.LOCK_EX, "wait until it ends, or give this run another name with --run"),
    ):
        yield


@contextmanager
def _locked(folder: Path, kind: int, remedy: str) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "a+", encoding="utf-8")  # noqa: SIM115 (held until the block ends)
    except OSError as error:
        raise _refused(folder, error) from error
    with lock:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise MedvqaError(
                f"{folder} is being written by process {lock.read().strip() or 'unknown'}", remedy=remedy
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
