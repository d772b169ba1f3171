"""A stand-in for an Ascend card, built from the sources in this folder with the Paddle that the tests use."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent


def tells_its_memory() -> bool:
    """Whether this Paddle asks a plug-in for the memory of its devices."""
    header = Path(find_spec("paddle").origin).parent / "include/paddle/phi/backends/device_ext.h"
    return "get_device_properties" in header.read_text()


def build(cache: Path) -> Path:
    """The folder for CUSTOM_DEVICE_ROOT; built once for each version of Paddle and of the sources.

    Raises:
        FileNotFoundError: no C++ compiler.
    """
    if (compiler := shutil.which("g++")) is None:
        raise FileNotFoundError("g++")
    sources = sorted(HERE.glob("*.cc"))
    content = b"".join(path.read_bytes() for path in [*sources, HERE / "standin.h"])
    folder = cache / f"{version('paddlepaddle')}-{sys.version_info.minor}-{hashlib.sha256(content).hexdigest()[:12]}"
    library = folder / "libpaddle-custom-npu.so"
    if library.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    paddle = Path(find_spec("paddle").origin).parent  # not imported: the stand-in must be there first
    core = "phi_core" if (paddle / "libs/libphi_core.so").exists() else "phi"  # its name before Paddle 3.1
    made = folder / f"{os.getpid()}.so"
    command = [compiler, "-std=c++17", "-O1", "-w", "-fPIC", "-shared", "-DPADDLE_WITH_CUSTOM_DEVICE"]
    command += [f"-I{paddle / 'include'}", f"-I{paddle / 'include/third_party'}", *map(str, sources), "-o", str(made)]
    command += ["-DSTANDIN_TELLS_ITS_MEMORY"] * tells_its_memory()
    command += [f"-L{paddle / 'libs'}", f"-l{core}", "-lcommon", "-lrt", f"-Wl,-rpath,{paddle / 'libs'}"]
    subprocess.run(command, check=True)
    made.replace(library)
    return folder
