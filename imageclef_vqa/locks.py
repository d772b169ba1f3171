"""Locks of folders: one run has one writer."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imageclef_vqa.errors import MedvqaError, file_error
from imageclef_vqa.files import open_append, remove_leftovers


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
    lock_file = folder / ".lock"
    with open_append(lock_file) as lock:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            writer = lock.read(20).decode(errors="replace").strip() or "unknown"
            raise MedvqaError(f"{folder} is being written by process {writer}", remedy=remedy) from error
        for each in (folder, *(below for below in folder.rglob("*") if below.is_dir())):
            remove_leftovers(each)
        try:
            os.ftruncate(lock.fileno(), 0)
            os.write(lock.fileno(), str(os.getpid()).encode())
        except OSError as error:
            raise file_error(lock_file, error, "write") from error
        yield
