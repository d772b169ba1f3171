"""Every error that a user can mend. Any other exception is a defect of this package.

MedvqaError           exit 1: the input, the machine or a check is at fault
├── UsageError        exit 2: the command line is at fault
├── MissingStepError  a file that an earlier command writes is missing
├── FileError         a file cannot be read or written: permissions, a full disk, a pipe
│   ├── MissingFileError  there is no such file
│   └── DamagedFileError  it can be read, but holds something else than it should
└── DataError         one or more problems in files from outside, reported together

Messages and remedies write commands in backticks, as in `medvqa predict`; `as_called` puts in the name of the program
that the user typed.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("medvqa", "imageclef-vqa")
CALLED_AS = "IMAGECLEF_VQA_PROGRAM"  # environment variable for processes that this one starts


def program() -> str:
    """The name under which the user called the program, `medvqa` by default.

    Another package may install a command `medvqa`, too; `imageclef-vqa` is always this package's.
    """
    name = os.environ.get(CALLED_AS) or Path(sys.argv[0]).name
    return name if name in PROGRAMS else PROGRAMS[0]


def as_called(text: str) -> str:
    """`text` with the commands in it, as in `medvqa predict`, under the name that the user typed."""
    return text.replace("`medvqa ", f"`{program()} ")


def printable(text: str, *, lines: bool = False) -> str:
    """`text` with what could control a terminal escaped as in JSON, `\\u001b`; with `lines`, line ends stay."""
    kept = "\n" if lines else ""
    return "".join(sign if sign.isprintable() or sign in kept else json.dumps(sign)[1:-1] for sign in text)


def shortened(lines: Sequence[str], shown: int = 20) -> list[str]:
    """The first `shown` of `lines`, then how many more there are."""
    more = len(lines) - shown
    return [*lines[:shown], *([f"… and {more:,} more"] if more > 0 else [])]


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 answer is`, `2 answers are`; `many` is by default `one` with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


class MedvqaError(Exception):
    """Says where and what the fault is, and the next step."""

    exit_code = 1

    def __init__(self, what: str, *, remedy: str | None = None) -> None:
        super().__init__(what if remedy is None else f"{what}\n{remedy}")
        self.what = what
        self.remedy = remedy


class UsageError(MedvqaError):
    """Options contradict each other or name something that does not exist."""

    exit_code = 2


class MissingStepError(MedvqaError):
    """``no stage-2 run in work/main: `medvqa finetune --stage 2` makes one``."""

    def __init__(self, what: str, command: str) -> None:
        super().__init__(f"{what}: `{command}` makes one")
        self.command = command


class DataError(MedvqaError):
    """Everything that makes files from outside unusable, in the order in which it was found."""

    def __init__(self, problems: Sequence[str], *, remedy: str | None = None) -> None:
        super().__init__("\n".join(problems), remedy=remedy)
        self.problems = tuple(problems)


class FileError(MedvqaError):
    """A file cannot be read or written, whatever it holds."""


class MissingFileError(FileError):
    """There is no such file."""


class DamagedFileError(FileError):
    """A file can be read, but what it holds is not what it should hold."""


def file_error(path: Path | str | None, error: OSError, verb: str = "use") -> FileError:
    """What a user can do about an error of the operating system; `verb` is what could not be done with `path`."""
    name = path or error.filename or "a file"
    what = f"cannot {verb} {name}: {(error.strerror or str(error)).lower()}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FileError(
            f"cannot {verb} {name}: the disk at {_mount_point(Path(name))} is full",
            remedy="free some space; what was finished before is whole, and the same command continues from there",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return FileError(what, remedy="its permissions, or those of its folder, forbid it; nothing was changed")
    return FileError(what, remedy="choose another file or folder; nothing was changed")


def _mount_point(path: Path) -> Path:
    """The folder at which the disk that holds `path` is mounted."""
    return next((each for each in path.absolute().parents if os.path.ismount(each)), Path("/"))


@contextmanager
def system_errors_explained() -> Iterator[None]:
    """Within the block, what the operating system refuses becomes a `MedvqaError`.

    Raises:
        FileError: a file or folder cannot be read or written.
        MedvqaError: memory ran out.
    """
    try:
        yield
    except OSError as error:
        raise file_error(None, error) from error
    except MemoryError as error:
        raise MedvqaError("memory ran out", remedy="use smaller files, or a machine with more memory") from error
