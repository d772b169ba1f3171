"""Tests of every device that Paddle reports, each in a process of its own: a bad plug-in can crash its process."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from imageclef_vqa import ascend
from imageclef_vqa.devices import PLUGIN_REMEDY
from imageclef_vqa.doctor.check import Check
from imageclef_vqa.doctor.gpu_software import check_gpu_software, loaded_versions
from imageclef_vqa.doctor.known_errors import remedy_for
from imageclef_vqa.environment import interpreter

_TIMEOUT = 600  # seconds: an NPU compiles each shape that it sees for the first time
_REMEDY = {
    "npu": "README, Ascend, says what to install; `npu-smi info` shows the cards that the driver sees",
    "gpu": "NVIDIA GPUs need paddlepaddle-gpu instead of paddlepaddle",
}
_FALLBACK = re.compile(r"missing npu kernel: (\w+)")


def check_devices(wanted: str | None) -> Iterator[Check]:
    """Test each device, then all devices of a kind together; only `wanted`, as in npu or npu:1, if it is given."""
    listing, plugin = _probe("list"), ascend.plugin()
    if "devices" not in listing:
        remedy = "install paddlepaddle again; the README names the versions"
        if plugin:
            remedy = PLUGIN_REMEDY.replace("\n", " ")
        yield Check("Paddle", "stop", listing["error"], listing.get("remedy") or remedy)
        return
    reported = listing["devices"]
    devices = [name for name in reported if wanted is None or wanted in (name, name.split(":")[0])]
    missing = wanted if not devices else None
    if plugin and not any(name.startswith("npu") for name in reported):
        missing = "npu"  # the plug-in is installed, so the user wants NPUs
    if missing:
        found = f"no {missing}; Paddle {listing['paddle']} reports: {', '.join(reported)}"
        yield Check("devices", "stop", found, _REMEDY.get(missing.split(":")[0]))
    kinds: dict[str, list[str]] = defaultdict(list)
    for device in devices:
        kind = device.split(":")[0]
        result = _probe("compute", device, GLOG_v="3", GLOG_minloglevel="0")
        if kind == "gpu" and not kinds[kind]:
            yield from check_gpu_software(listing, result.get("loaded", {}))
        kinds[kind].append(device)
        yield _check_device(device, result)
    for name, together in kinds.items():
        yield _check_collective(name, together)


def _check_device(device: str, result: dict[str, Any]) -> Check:
    if "error" in result:
        remedy = result.get("remedy") or "the device exists, but cannot be used: see its driver's log"
        return Check(device, "stop", result["error"], remedy)
    found = (
        f"{result['gflops']:,.0f} GFLOP/s in {result['precision']} products; "
        f"tiny: forward {result['forward_ms']:.0f} ms, with backward {result['step_ms']:.0f} ms"
    )
    if result["memory_mb"]:
        found = f"{result['memory_mb']:,.0f} MB; {found}"
    if missing := result["on_the_cpu"]:
        remedy = f"{len(missing)} operators run on the CPU instead: {', '.join(missing)}"
        return Check(device, "note", found, remedy, result)
    return Check(device, "good", found, figures=result)


def _check_collective(kind: str, devices: list[str]) -> Check:
    """A sum and a training step over all devices of a kind, one process each; on the CPU over two processes."""
    name = f"{kind} collective"
    if len(devices) == 1 and kind != "cpu":
        return Check(name, "good", "one device: no sum to test")
    result = _probe("collective", kind, str(max(2, len(devices))))
    if "error" in result:
        remedy = "several devices need the vendor's collective library (HCCL, NCCL; gloo on the CPU); one does not"
        remedy = result.get("remedy") or remedy
        return Check(name, "note" if kind == "cpu" else "stop", result["error"], remedy)
    found = (
        f"a sum of {result['megabytes']} MB over {result['processes']} processes in {result['milliseconds']:.0f} ms, "
        f"a training step of tiny in {result['step_ms']:.0f} ms"
    )
    return Check(name, "good", found, figures=result)


def _probe(*arguments: str, **environment: str) -> dict[str, Any]:
    """The JSON that `probe.py` prints; if it failed, `error` with its message, and `remedy` where that is known.

    `loaded` are versions of CUDA and cuDNN in Paddle's log.
    """
    command = interpreter("imageclef_vqa.doctor.probe", *arguments)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT, env=os.environ | environment
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {_TIMEOUT // 60} minutes"}
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        # Paddle adds hints and the position in its sources after the message.
        messages = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)] or lines
        failed = {"error": messages[-1].strip()[:300], "remedy": remedy_for(done.stderr)}
        return failed | {"loaded": loaded_versions(done.stderr)}
    seen = {"on_the_cpu": sorted(set(_FALLBACK.findall(done.stderr))), "loaded": loaded_versions(done.stderr)}
    return json.loads(done.stdout.splitlines()[-1]) | seen
