"""Every error that a user can mend. Any other exception is a defect of this package.

MedvqaError           exit 1: the input, the machine or a check is at fault
├── UsageError        exit 2: the command line is at fault
├── MissingStepError  a file that an earlier command writes is missing
└── DataError         one or more problems in files from outside, reported together

Messages and remedies write commands in backticks, as in `medvqa predict`; `as_called` puts in the name of the program
that the user typed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
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


def shortened(lines: Sequence[str], shown: int = 20) -> list[str]:
    """The first `shown` of `lines`, then how many more there are."""
    more = len(lines) - shown
    return [*lines[:shown], *([f"… and {more:,} more"] if more > 0 else [])]


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
