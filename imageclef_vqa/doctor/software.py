"""Python, packages and the Ascend software, against what this distribution says that it supports."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from imageclef_vqa import ascend
from imageclef_vqa.doctor.check import Check

DISTRIBUTION = "imageclef-vqa"
PLUGIN = "paddle-custom-npu"
# Where Huawei's installers put things, beside what `set_env.sh` says.
_TOOLKIT = Path("/usr/local/Ascend/ascend-toolkit/latest")
_DRIVER = Path("/usr/local/Ascend/driver/version.info")


def check_python() -> Check:
    """Python against `requires-python`."""
    mine = platform.python_version()
    try:
        wanted = metadata(DISTRIBUTION)["Requires-Python"] or ""
    except PackageNotFoundError:
        return Check("Python", "note", f"{mine}; {DISTRIBUTION} itself is not installed", "pip install .")
    if mine in SpecifierSet(wanted, prereleases=True):
        return Check("Python", "good", f"{mine} (supported: {wanted})")
    return Check("Python", "stop", f"{mine}, supported: {wanted}", "make a virtual environment with a supported Python")


def check_packages() -> Iterator[Check]:
    """Each package that is asked for; those that fit in one line, every other in a line of its own."""
    try:
        wanted = [Requirement(line) for line in requires(DISTRIBUTION) or []]
    except PackageNotFoundError:
        return
    fitting = []
    for package in wanted:
        if package.marker is not None and not package.marker.evaluate({"extra": ""}):
            continue
        have = _version(package.name)
        if have is not None and package.specifier.contains(have, prereleases=True):
            fitting.append(f"{package.name} {have}")
            continue
        found = f"{have}, supported: {package.specifier}" if have else "not installed"
        yield Check(package.name, "stop", found, f"pip install '{package.name}{package.specifier}'")
    main = [text for text in fitting if text.startswith(("paddle", "numpy"))]
    yield Check("packages", "good", f"{len(fitting)} fit: {', '.join(main)} …", figures={"packages": fitting})


def check_ascend(*, wanted: bool) -> Iterator[Check]:
    """The plug-in against Paddle, CANN and the driver: where any of it is there, or where it is `wanted`."""
    plugin, folder = _version(PLUGIN), ascend.plugin()
    toolkit = Path(os.environ.get("ASCEND_TOOLKIT_HOME", _TOOLKIT))
    if not (wanted or plugin or folder or toolkit.exists() or _DRIVER.exists()):
        return
    paddle = _version("paddlepaddle") or "none"
    if plugin is None and folder is None:
        found = f"no {PLUGIN}; Paddle is {paddle}"
        yield Check("NPU plug-in", "stop", found, f"install {PLUGIN} {paddle} from Paddle's package index (README)")
    elif plugin is None:
        yield Check("NPU plug-in", "good", f"{folder}, by CUSTOM_DEVICE_ROOT")
    elif _release(plugin) != _release(paddle):
        remedy = f"install {PLUGIN} {paddle}: it is built for one version of Paddle"
        yield Check("NPU plug-in", "stop", f"{PLUGIN} {plugin}, but Paddle {paddle}", remedy)
    else:
        yield Check("NPU plug-in", "good", f"{PLUGIN} {plugin} for Paddle {paddle}")
    yield _installed("CANN", toolkit / "version.cfg", toolkit, "install CANN and source its set_env.sh")
    yield _installed("Ascend driver", _DRIVER, _DRIVER.parent, "install Huawei's driver for the card")
    cards = [f"{card.name}, {card.memory:,} MB, {card.precision}" for card in ascend.cards()]
    yield Check("Ascend cards", "good" if cards else "note", "; ".join(cards) or "npu-smi is not there to tell")


def _installed(name: str, version_file: Path, place: Path, remedy: str) -> Check:
    if not place.exists():
        return Check(name, "note", f"not in {place}", remedy)
    told = re.search(r"(?i)version\s*=\s*\[?([\w.:]+)", version_file.read_text()) if version_file.exists() else None
    return Check(name, "good", f"{told.group(1) if told else 'some version'} in {place}")


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _release(text: str) -> list[str]:
    """`3.0.0.dev20250101` → 3, 0."""
    return re.findall(r"\d+", text)[:2]
