"""What tests of hostile files and machines share."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
# Root reads every file: without these two capabilities it is bound by permissions, too.
BOUND = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]


def program(*words: str) -> list[str]:
    """The command line of the program, from this repository."""
    return [sys.executable, "-c", "from imageclef_vqa.__main__ import main; main()", *words]


def run(*words: str, cwd: Path, before: list[str] | None = None, **settings: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, as it ends; `before` is a command that runs it, `settings` variables."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), **settings}
    command = [*(before or []), *program(*words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def bound_by_permissions() -> list[str]:
    """What a command needs in front of it so that permissions bind it; the test is skipped where that is impossible."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None or subprocess.run([*BOUND, "true"], capture_output=True).returncode:
        pytest.skip("LOUD: permissions do not bind root, and setpriv cannot take that from it")
    return BOUND


@contextlib.contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A folder on a disk of `size`, as in `300k`; the test is skipped where nothing can be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="small-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("LOUD: a disk that fills needs the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


@contextlib.contextmanager
def seconds(limit: int) -> Iterator[None]:
    """Within the block, waiting for longer than `limit` seconds is an error and not a test that never ends."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"over {limit} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
