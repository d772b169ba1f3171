"""Checks of Python, packages and the Ascend software against what this distribution supports."""

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
# Default folders of Huawei's installers; `set_env.sh` may name another one.
_TOOLKIT = Path("/usr/local/Ascend/ascend-toolkit/latest")
_DRIVER = Path("/usr/local/Ascend/driver/version.info")


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
        have = _version(package.name)
        if have is not None and package.specifier.contains(have, prereleases=True):
            fitting.append(f"{package.name} {have}")
            continue
        found = f"{have}, supported: {package.specifier}" if have else "not installed"
        yield Check(package.name, "stop", found, f"pip install '{package.name}{package.specifier}'")
    main = [text for text in fitting if text.startswith(("paddle", "numpy"))]
    yield Check("packages", "good", f"{len(fitting)} fit: {', '.join(main)} …", figures={"packages": fitting})


def check_ascend(*, wanted: bool) -> Iterator[Check]:
    """The plug-in and its version, CANN and the driver; nothing if none of it is installed or `wanted`."""
    plugin, folder = _version(PLUGIN), ascend.plugin()
    toolkit = Path(os.environ.get("ASCEND_TOOLKIT_HOME", _TOOLKIT))
    if not (wanted or plugin or folder or toolkit.exists() or _DRIVER.exists()):
        return
    paddle = _version("paddlepaddle") or "none"
    if plugin is None and folder is None:
        found = f"no {PLUGIN}; Paddle is {paddle}"
        yield Check("NPU plug-in", "stop", found, f"install {PLUGIN} {paddle} from Paddle's package index (README)")
    elif plugin is None:
        yield Check("NPU plug-in", "good", f"{folder}, from CUSTOM_DEVICE_ROOT")
    elif _release(plugin) != _release(paddle):
        remedy = f"install {PLUGIN} {paddle}: it is built for one version of Paddle"
        yield Check("NPU plug-in", "stop", f"{PLUGIN} {plugin}, but Paddle {paddle}", remedy)
    else:
        yield Check("NPU plug-in", "good", f"{PLUGIN} {plugin} for Paddle {paddle}")
    yield _installed("CANN", toolkit / "version.cfg", toolkit, "install CANN and source its set_env.sh")
    yield _installed("Ascend driver", _DRIVER, _DRIVER.parent, "install Huawei's driver for the card")
    cards = [f"{card.name}, {card.memory:,} MB, {card.precision}" for card in ascend.cards()]
    yield Check("Ascend cards", "good" if cards else "note", "; ".join(cards) or "unknown without npu-smi")


def _installed(name: str, version_file: Path, folder: Path, remedy: str) -> Check:
    if not folder.exists():
        return Check(name, "note", f"not in {folder}", remedy)
    found = re.search(r"(?i)version\s*=\s*\[?([\w.:]+)", version_file.read_text()) if version_file.exists() else None
    return Check(name, "good", f"{found.group(1) if found else 'some version'} in {folder}")


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _release(text: str) -> list[str]:
    """Major and minor version: `3.0.0.dev20250101` → 3, 0."""
    return re.findall(r"\d+", text)[:2]
