"""Checks of Python and packages against what this distribution supports."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from imageclef_vqa.doctor.check import Check

DISTRIBUTION = "imageclef-vqa"


def check_python() -> Check:
    """Compare Python with `requires-python`."""
    running = platform.python_version()
    try:
        supported = metadata(DISTRIBUTION)["Requires-Python"] or ""
    except PackageNotFoundError:
        return Check("Python", "note", f"{running}; {DISTRIBUTION} itself is not installed", "pip install .")
    if running in SpecifierSet(supported, prereleases=True):
        return Check("Python", "good", f"{running} (supported: {supported})")
    remedy = "make a virtual environment with a supported Python"
    return Check("Python", "stop", f"{running}, supported: {supported}", remedy)


def check_packages() -> Iterator[Check]:
    """The required packages: those that fit in one check, and one check for each that does not."""
    try:
        wanted = [Requirement(line) for line in requires(DISTRIBUTION) or []]
    except PackageNotFoundError:
        return
    fitting = []
    for package in wanted:
        if package.marker is not None and not package.marker.evaluate({"extra": ""}):
            continue
        have = installed_version(package.name)
        if have is not None and package.specifier.contains(have, prereleases=True):
            fitting.append(f"{package.name} {have}")
            continue
        found = f"{have}, supported: {package.specifier}" if have else "not installed"
        yield Check(package.name, "stop", found, f"pip install '{package.name}{package.specifier}'")
    main = [text for text in fitting if text.startswith(("paddle", "numpy"))]
    yield Check("packages", "good", f"{len(fitting)} fit: {', '.join(main)} …", figures={"packages": fitting})


def installed_version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
