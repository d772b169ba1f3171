"""Tests that run in a process of their own: `list`, `compute DEVICE`, `collective KIND N`, `sum DEVICE`.

Each prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from imageclef_vqa import ascend
from imageclef_vqa.devices import available_devices, best_precision, prepare
from imageclef_vqa.environment import free_ports, interpreter
from imageclef_vqa.errors import MedvqaError

_SIDE = 2048  # rows of the square matrices
_SUMMED = 4 << 20  # floats
_PAIRS = 4


def list_devices() -> dict[str, Any]:
    """All devices, Paddle's version, and the CUDA and cuDNN that it is built for (`False` in a build for the CPU)."""
    devices = available_devices()
    import paddle

    built = {"cuda": paddle.version.cuda(), "cudnn": paddle.version.cudnn()}
    return {"devices": devices, "paddle": paddle.__version__, **built}


def compute(device: str) -> dict[str, Any]:
    """Measure memory, the sustained rate of matrix products, and one training step of `tiny`."""
    prepare(device, seed=0)
    import paddle

    precision = best_precision(device)
    dtype = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}[precision]
    square = paddle.rand([_SIDE, _SIDE]).astype(dtype)
    seconds = _fastest(lambda: paddle.matmul(square, square))
    forward, step = _tiny_step()
    return {
        "memory_mb": _memory(device),
        "precision": precision,
        "gflops": round(2 * _SIDE**3 / seconds / 1e9, 1),
        "forward_ms": round(1e3 * forward, 1),
        "step_ms": round(1e3 * step, 1),
    }


def _fastest(work: Callable[[], Any], times: int = 5) -> float:
    """Seconds of the fastest of several calls, after one that compiles."""
    import paddle

    best = float("inf")
    for _ in range(times + 1):
        started = time.perf_counter()
        work()
        if paddle.get_device() != "cpu":  # Paddle raises an error for it
            paddle.device.synchronize()
        best = min(best, time.perf_counter() - started)
    return best


def _tiny_step() -> tuple[float, float]:
    """Seconds of stage 2 on one image with four questions: forward, and forward with backward."""
    loss, _ = _tiny_loss()
    return _fastest(loss, times=3), _fastest(lambda: loss().backward(), times=3)


def _tiny_loss() -> tuple[Callable[[], Any], list[Any]]:
    """The loss of `tiny` on one image with four questions, and its trained parameters."""
    import paddle

    from imageclef_vqa.checkpoints.pretrained import load_pretrained
    from imageclef_vqa.models.presets import find_preset

    preset = find_preset("tiny")
    model, _ = load_pretrained(preset)
    pixels = paddle.rand([1, 3, preset.vision.image_size, preset.vision.image_size])
    words = paddle.ones([_PAIRS, 8], dtype="int64")

    def loss() -> paddle.Tensor:
        return model(pixels, paddle.zeros([_PAIRS], dtype="int64"), words, words, words).mean()

    return loss, [parameter for parameter in model.parameters() if not parameter.stop_gradient]


def _memory(device: str) -> float:
    """The device's memory in MB; 0 if neither Paddle nor `npu-smi` reports it."""
    import paddle

    if device.startswith("gpu"):
        return paddle.device.cuda.get_device_properties(device).total_memory / 2**20
    kind, _, number = device.partition(":")
    cards, index = ascend.cards(), int(number or 0)
    if kind == "npu" and index < len(cards):
        return cards[index].memory
    try:  # from Paddle 3.3 on, a plug-in may report it
        return paddle.base.core.get_device_properties(kind, index).total_memory / 2**20
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return 0


def collective(kind: str, processes: int) -> dict[str, Any]:
    """Run `sum_with_others` in `processes` processes, and return what the first one measured."""
    endpoints = [f"127.0.0.1:{port}" for port in free_ports(processes)]
    children = [
        subprocess.Popen(
            interpreter("imageclef_vqa.doctor.probe", "sum", kind if kind == "cpu" else f"{kind}:{rank}"),
            env=os.environ
            | {
                "PADDLE_TRAINER_ID": str(rank),
                "PADDLE_TRAINERS_NUM": str(processes),
                "PADDLE_CURRENT_ENDPOINT": endpoints[rank],
                "PADDLE_TRAINER_ENDPOINTS": ",".join(endpoints),
                "PADDLE_DISTRI_BACKEND": "gloo" if kind == "cpu" else "xccl" if kind == "npu" else "nccl",
                f"FLAGS_selected_{kind}s": str(rank),
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    outputs = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        raise SystemExit("one of the processes that computed the sum failed")
    return json.loads(outputs[0].splitlines()[-1]) | {"processes": processes}


def sum_with_others(device: str) -> dict[str, Any]:
    """Compute a sum and a training step with all processes, check them, and time them."""
    available_devices()
    import paddle

    paddle.set_device(device)
    paddle.distributed.init_parallel_env()
    ones = paddle.ones([_SUMMED])
    seconds = _fastest(lambda: paddle.distributed.all_reduce(ones.clone()))
    total = ones.clone()
    paddle.distributed.all_reduce(total)
    if float(total.mean()) != paddle.distributed.get_world_size():
        raise SystemExit(f"{device}: the sum over all devices is wrong")
    step = _fastest(_step_with_others(), times=3)
    return {"megabytes": 4 * _SUMMED >> 20, "milliseconds": round(1e3 * seconds, 1), "step_ms": round(1e3 * step, 1)}


def _step_with_others() -> Callable[[], None]:
    """A training step of `tiny` whose gradients are summed over all processes and must be finite."""
    import paddle

    loss, parameters = _tiny_loss()

    def step() -> None:
        loss().backward()
        for parameter in parameters:
            if parameter.grad is not None:
                paddle.distributed.all_reduce(parameter.grad)
                if not bool(paddle.isfinite(parameter.grad).all()):
                    raise SystemExit(f"a summed gradient of {parameter.name} is not finite")
            parameter.clear_gradient()

    return step


def main(command: str, *arguments: str) -> None:
    """Run one test and print its result."""
    probes: dict[str, Callable[..., dict[str, Any]]] = {
        "list": list_devices,
        "compute": compute,
        "collective": lambda kind, processes: collective(kind, int(processes)),
        "sum": sum_with_others,
    }
    try:
        print(json.dumps(probes[command](*arguments)))
    except MedvqaError as error:
        raise SystemExit(error.what) from None


if __name__ == "__main__":
    main(*sys.argv[1:])
