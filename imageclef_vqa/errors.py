"""Every error that a user can mend. Anything else that escapes is a defect of ours.

MedvqaError           exit 1: the input, the machine or a check is at fault
├── UsageError        exit 2: the command line is
├── MissingStepError  a file that an earlier command makes is not there
└── DataError         one or more problems in files from outside, all told at once
"""

from __future__ import annotations

from collections.abc import Sequence


def shortened(lines: Sequence[str], shown: int = 20) -> list[str]:
    """The first `shown` of `lines`, then how many more there are."""
    more = len(lines) - shown
    return [*lines[:shown], *([f"… and {more:,} more"] if more > 0 else [])]


class MedvqaError(Exception):
    """Where and what, and the next step for the person who reads it."""

    exit_code = 1

    def __init__(self, what: str, *, remedy: str | None = None) -> None:
        super().__init__(what if remedy is None else f"{what}\n{remedy}")
        self.what = what
        self.remedy = remedy


class UsageError(MedvqaError):
    """The options contradict each other or name something that does not exist."""

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
