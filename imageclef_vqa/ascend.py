"""Ascend cards and their software, as far as they can be found without importing Paddle."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

# From Ascend's guides for Paddle: no private tensor layouts, no just-in-time compilation of single operators,
# collectives through Huawei's library (Paddle 3.0 to 3.2 do not find it by themselves), and a long timeout, because the
# first steps of other cards may still compile.
ENVIRONMENT = {
    "FLAGS_npu_storage_format": "0",
    "FLAGS_npu_jit_compile": "false",
    "PADDLE_XCCL_BACKEND": "npu",
    "HCCL_CONNECT_TIMEOUT": "7200",
}
# Two lines of `npu-smi info` for each chip: its card's number and name; its own numbers, bus and memory in use.
_CHIP = re.compile(
    r"^\|\s*\d+\s+(?:Ascend)?(?P<name>\w+)\s*\|[^\n]*\n\|\s*\d+[\s\d]*\|\s*[0-9A-Fa-f]{4}:[^\n]*/\s*(?P<memory>\d+)\s*\|",
    re.MULTILINE,
)


class Card(NamedTuple):
    """A chip as `npu-smi` names it (`910B2`, or only `910` on the newest), and its memory in MB."""

    name: str
    memory: int

    @property
    def precision(self) -> Literal["fp16", "bf16"]:
        """The half precision to train in: 910A computes in fp16 only, 910B and later also in bf16."""
        newest = self.name == "910" and self.memory > 60_000
        return "bf16" if newest or re.match(r"910(B\d|C|_9)", self.name) else "fp16"


def plugin() -> Path | None:
    """The folder from which Paddle loads device plug-ins, if it holds a library."""
    spec = find_spec("paddle_custom_device")
    installed = list(spec.submodule_search_locations or []) if spec else []
    for folder in (os.environ.get("CUSTOM_DEVICE_ROOT"), *installed):
        if folder and any(Path(folder).rglob("*.so")):
            return Path(folder)
    return None


def cards() -> list[Card]:
    """The chips that Huawei's `npu-smi info` prints; empty without that program."""
    if (tool := shutil.which("npu-smi")) is None:
        return []
    try:
        printed = subprocess.run([tool, "info"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [Card(found["name"], int(found["memory"])) for found in _CHIP.finditer(printed)]
