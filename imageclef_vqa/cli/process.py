"""The process of the program: how it ends on a signal, and its standard streams, which may be closed, full or ASCII."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from imageclef_vqa.errors import FileError

INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SOON = 0.02  # seconds


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the block, Ctrl-C, SIGTERM and SIGHUP raise KeyboardInterrupt; after it, they are ignored.

    A signal that the caller ignores, as nohup does, stays ignored.
    """
    used = [each for each in _SIGNALS if signal.getsignal(each) != signal.SIG_IGN]
    try:
        for each in (*used, signal.SIGALRM):
            signal.signal(each, _interrupt)
        yield
    finally:
        # The result is printed. Other handlers than this one are taken away while Python ends.
        for each in (*used, signal.SIGALRM):
            signal.signal(each, signal.SIG_IGN)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but later while a module is imported or an object removed: there it would be lost."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith("<frozen importlib") or code.co_name == "__del__":
            signal.setitimer(signal.ITIMER_REAL, _SOON)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def open_streams() -> None:
    """Make standard output and error usable: closed ones are discarded; what an encoding lacks is escaped."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed by the caller: the next file that is opened would take its place
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    sys.stdout, sys.stderr = _Stream(1, "standard output"), _Stream(2, None)


class _Stream(io.TextIOWrapper):
    """A standard stream. When its reader has gone, output is discarded, and the command goes on.

    Args:
        name: for the error if nothing more can be written; None: it is discarded, too.
    """

    def __init__(self, descriptor: int, name: str | None) -> None:
        before = (sys.__stdout__, sys.__stderr__)[descriptor - 1]
        encoding = "utf-8" if before is None else before.encoding
        buffered = open(descriptor, "wb", closefd=False)  # noqa: SIM115 (it lives as long as the process)
        super().__init__(buffered, encoding, "backslashreplace", line_buffering=descriptor == 2 or buffered.isatty())
        self._title = name

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._discard(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._discard(error)

    def _discard(self, error: OSError) -> None:
        """Send what is left, and all that follows, nowhere.

        Raises:
            FileError: the disk is full, or something else that the user should know.
        """
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.buffer.fileno())
        super().flush()
        if self._title is not None and not isinstance(error, BrokenPipeError):
            raise FileError(f"cannot write {self._title}: {error.strerror}", remedy="files were written nevertheless")
