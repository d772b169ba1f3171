"""Every device that Paddle reports, tried in a process of its own: a bad plug-in can take a process down."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from imageclef_vqa import ascend
from imageclef_vqa.devices import PLUGIN_REMEDY
from imageclef_vqa.doctor.check import Check

_PATIENCE = 600  # seconds: an NPU compiles each shape that it sees for the first time
_REMEDY = {
    "npu": "README, Ascend, says what to install; `npu-smi info` shows the cards that the driver sees",
    "gpu": "NVIDIA needs paddlepaddle-gpu in place of paddlepaddle",
}
_FALL_BACK = re.compile(r"missing npu kernel: (\w+)")


def check_devices(wanted: str | None) -> Iterator[Check]:
    """Each device by itself, then each kind's devices together; only `wanted`, as in npu or npu:1, if it is given."""
    listing, plugin = _probe("list"), ascend.plugin()
    if "devices" not in listing:
        remedy = "`pip install paddlepaddle` anew; README names the versions"
        if plugin:
            remedy = PLUGIN_REMEDY.replace("\n", " ")
        yield Check("Paddle", "stop", listing["error"], remedy)
        return
    there = listing["devices"]
    devices = [name for name in there if wanted is None or wanted in (name, name.split(":")[0])]
    missing = wanted if not devices else None
    if plugin and not any(name.startswith("npu") for name in there):
        missing = "npu"  # whoever installed the plug-in means to use it
    if missing:
        found = f"no {missing}; Paddle {listing['paddle']} reports: {', '.join(there)}"
        yield Check("devices", "stop", found, _REMEDY.get(missing.split(":")[0]))
    kinds = defaultdict(list)
    for device in devices:
        kinds[device.split(":")[0]].append(device)
        yield _check_device(device)
    for name, together in kinds.items():
        yield _check_collective(name, together)


def _check_device(device: str) -> Check:
    told = _probe("compute", device, GLOG_v="3", GLOG_minloglevel="0")
    if "error" in told:
        return Check(device, "stop", told["error"], "the device is there, but cannot be used: see its driver's log")
    found = (
        f"{told['gflops']:,.0f} GFLOP/s in {told['precision']} products; "
        f"tiny: forward {told['forward_ms']:.0f} ms, with backward {told['step_ms']:.0f} ms"
    )
    if told["memory_mb"]:
        found = f"{told['memory_mb']:,.0f} MB; {found}"
    missing = told["on_the_cpu"]
    if missing:
        remedy = f"{len(missing)} operators run on the CPU in its stead: {', '.join(missing)}"
        return Check(device, "note", found, remedy, told)
    return Check(device, "good", found, figures=told)


def _check_collective(kind: str, devices: list[str]) -> Check:
    """A sum over all devices of a kind, a process for each; over two processes where there is one CPU."""
    name = f"{kind} collective"
    if len(devices) == 1 and kind != "cpu":
        return Check(name, "good", "one device: nothing to sum with")
    told = _probe("collective", kind, str(max(2, len(devices))))
    if "error" in told:
        remedy = "one device works without; several need the vendor's collective library (HCCL, NCCL; gloo on the CPU)"
        return Check(name, "note" if kind == "cpu" else "stop", told["error"], remedy)
    found = f"a sum of {told['megabytes']} MB over {told['processes']} processes in {told['milliseconds']:.0f} ms"
    return Check(name, "good", found, figures=told)


def _probe(*words: str, **environment: str) -> dict[str, Any]:
    """What `probe.py` prints last, as JSON; its last words as `error` where it failed."""
    command = [sys.executable, "-m", "imageclef_vqa.doctor.probe", *words]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE, env=os.environ | environment
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {_PATIENCE // 60} minutes"}
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        # Paddle's errors end with hints and the place in its sources.
        telling = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)] or lines
        return {"error": telling[-1].strip()[:300]}
    told = json.loads(done.stdout.splitlines()[-1])
    return told | {"on_the_cpu": sorted(set(_FALL_BACK.findall(done.stderr)))}
