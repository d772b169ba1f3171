"""The organisers' `submission_task1.py`: its two sections that participants edit, and the lines that they may not.

The template is read where the organisers' package is installed, or from a file; its text is theirs and is not part of
this package.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from imageclef_vqa.errors import MedvqaError, UsageError

SCRIPT = "submission_task1.py"
_STARTS = (re.compile(r"EDIT SECTION 1"), re.compile(r"EDIT SECTION 2"))
_ENDS = (re.compile(r"END\b.*MODEL LOADING"), re.compile(r"END\b.*ANSWER GENERATION"))


class Template(NamedTuple):
    """A template in five parts of lines: the sections at 1 and 3, with what stands before, between and after them."""

    before: str
    loading: str
    between: str
    answering: str
    after: str

    @property
    def fixed(self) -> tuple[str, str, str]:
        """The parts that must stay, character for character, with the lines that mark the sections."""
        return self.before, self.between, self.after


def find_template(edition: str, file: Path | None) -> Path:
    """The template in `file`, or that of `edition` in the organisers' installed package.

    Raises:
        UsageError: there is none.
    """
    if file is not None:
        if not file.is_file():
            raise UsageError(f"--template {file}: there is no such file")
        return file
    spec = find_spec("medvqa")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / "submission_samples" / edition / SCRIPT
        if path.is_file():
            return path
    raise UsageError(
        f"no template of {edition}: the organisers' package is not installed here, or has none",
        remedy="`pip install medvqa` installs it; or name its submission_task1.py with --template FILE",
    )


def read_template(text: str, name: str) -> Template:
    """The parts of a template, or of a script that was made from one.

    Raises:
        MedvqaError: the lines that mark the two sections are not there once each, in order.
    """
    lines = text.splitlines(keepends=True)
    marks = []
    for pattern in (_STARTS[0], _ENDS[0], _STARTS[1], _ENDS[1]):
        found = [number for number, line in enumerate(lines) if line.lstrip().startswith("#") and pattern.search(line)]
        if len(found) != 1:
            raise MedvqaError(
                f"{name}: {len(found)} lines with {pattern.pattern!r}, not one",
                remedy="use the submission_task1.py of the organisers' package, unchanged",
            )
        marks.append(found[0])
    if marks != sorted(marks):
        raise MedvqaError(f"{name}: its sections are in another order than expected")
    one, two, three, four = marks
    cuts = (0, one + 1, two, three + 1, four, len(lines))
    return Template(*("".join(lines[start:end]) for start, end in pairwise(cuts)))


def fill_template(template: Template, loading: str, answering: str) -> str:
    """The script with these two sections; `answering` is indented as the section of the template is."""
    first = next((line for line in template.answering.splitlines() if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip())]
    body = "".join(f"{indent}{line}\n" if line else "\n" for line in answering.splitlines())
    return template.before + loading + template.between + body + template.after


def missing_patterns(script: str, patterns: tuple[str, ...]) -> list[str]:
    """Those of the organisers' patterns that the script lacks; by them they put in the private set."""
    return [pattern for pattern in patterns if re.search(pattern, script) is None]
