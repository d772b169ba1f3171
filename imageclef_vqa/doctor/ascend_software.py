"""Checks of the Ascend software: plug-in, CANN, driver, cards. Each stops on mismatches that users have had."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from imageclef_vqa import ascend
from imageclef_vqa.doctor.check import Check
from imageclef_vqa.doctor.software import installed_version

PLUGIN = "paddle-custom-npu"
# Default folders of Huawei's installers; `set_env.sh` may name another one.
_TOOLKIT = Path("/usr/local/Ascend/ascend-toolkit/latest")
_DRIVER = Path("/usr/local/Ascend/driver/version.info")
_CANN = Version("8.0")  # what the plug-ins for Paddle 3.0 to 3.3 are built for (PaddleCustomDevice issue 2452)
_OLD_CARDS = re.compile(r"910A?$|910(PRO)?[AB]?-|310")  # 910B2, 910_93… are newer


def check_ascend(*, wanted: bool) -> Iterator[Check]:
    """The plug-in, CANN, the driver and the cards; nothing if none of it is installed or `wanted`."""
    plugin, folder = installed_version(PLUGIN), ascend.plugin()
    toolkit = Path(os.environ.get("ASCEND_TOOLKIT_HOME", _TOOLKIT))
    if not (wanted or plugin or folder or toolkit.exists() or _DRIVER.exists()):
        return
    yield _check_plugin(plugin, folder)
    if plugin is not None:
        yield from _check_wheel(plugin)
    yield _check_cann(toolkit)
    yield _installed("Ascend driver", _DRIVER, _DRIVER.parent, "install Huawei's driver for the card")
    yield _check_cards()


def _check_plugin(plugin: str | None, folder: Path | None) -> Check:
    name, paddle = "NPU plug-in", installed_version("paddlepaddle") or "none"
    root = os.environ.get("CUSTOM_DEVICE_ROOT")
    if root and (folder is None or folder != Path(root)):
        return Check(name, "stop", f"CUSTOM_DEVICE_ROOT is {root}, without a library", "unset it, or correct it")
    if plugin is None and folder is None:
        remedy = (
            f"install {PLUGIN} {paddle} from Paddle's package index (README); "
            "for one that you built, set CUSTOM_DEVICE_ROOT to the folder of libpaddle-custom-npu.so"
        )
        return Check(name, "stop", f"no {PLUGIN}; Paddle is {paddle}", remedy)
    if plugin is None:
        return Check(name, "good", f"{folder}, from CUSTOM_DEVICE_ROOT")
    if _release(plugin) != _release(paddle):
        remedy = f"install {PLUGIN} {paddle}: it is built for one version of Paddle"
        return Check(name, "stop", f"{PLUGIN} {plugin}, but Paddle {paddle}", remedy)
    return Check(name, "good", f"{PLUGIN} {plugin} for Paddle {paddle}")


def _check_wheel(plugin: str) -> Iterator[Check]:
    """Python and NumPy, where the plug-in's wheel asks for others than these."""
    try:
        wheel = distribution(PLUGIN)
    except PackageNotFoundError:
        return
    tags = re.findall(r"^Tag: cp(\d)(\d+)-", wheel.read_text("WHEEL") or "", re.MULTILINE)
    pythons = [f"{major}.{minor}" for major, minor in tags]
    running = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if pythons and running not in pythons:
        remedy = f"make a virtual environment with Python {pythons[0]}"
        yield Check("NPU plug-in's Python", "stop", f"{running}; {PLUGIN} {plugin} is built for {pythons[0]}", remedy)
    for requirement in map(Requirement, wheel.requires or []):
        have = installed_version(requirement.name)
        if requirement.name == "numpy" and have and not requirement.specifier.contains(have, prereleases=True):
            found = f"{have}; {PLUGIN} {plugin} asks for {requirement.specifier}"
            yield Check("NPU plug-in's NumPy", "stop", found, f"pip install 'numpy{requirement.specifier}'")


def _check_cann(toolkit: Path) -> Check:
    """CANN, which must not be newer than what the plug-ins are built for."""
    check = _installed("CANN", toolkit / "version.cfg", toolkit, "install CANN 8.0 and source its set_env.sh")
    found = re.match(r"(\d+\.\d+)", check.found)
    if found and Version(found[1]) > _CANN:
        remedy = f"install CANN {_CANN} and source its set_env.sh: the plug-in is built for it, and libraries changed"
        return Check("CANN", "stop", check.found, remedy)
    return check


def _check_cards() -> Check:
    cards, paddle = ascend.cards(), installed_version("paddlepaddle")
    found = "; ".join(f"{card.name}, {card.memory:,} MB, {card.precision}" for card in cards)
    old = [card.name for card in cards if _OLD_CARDS.match(card.name) and card.memory < 60_000]
    if old and paddle and Version(paddle) >= Version("3.0"):
        remedy = (
            "310 cards are not supported by Paddle's plug-in"
            if old[0].startswith("310")
            else "910A cards need Paddle and plug-in 2.6 (PaddleCustomDevice pull request 1186)"
        )
        return Check("Ascend cards", "stop", f"{found}; Paddle is {paddle}", remedy)
    return Check("Ascend cards", "good" if cards else "note", found or "unknown without npu-smi")


def _installed(name: str, version_file: Path, folder: Path, remedy: str) -> Check:
    if not folder.exists():
        return Check(name, "note", f"not in {folder}", remedy)
    found = re.search(r"(?i)version\s*=\s*\[?([\w.:]+)", version_file.read_text()) if version_file.exists() else None
    version = found.group(1).rpartition(":")[2] if found else "some version"
    return Check(name, "good", f"{version} in {folder}")


def _release(text: str) -> list[str]:
    """Major and minor version: `3.0.0.dev20250101` → 3, 0."""
    return re.findall(r"\d+", text)[:2]
