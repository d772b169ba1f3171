"""CUDA and cuDNN on this machine, as Paddle prints them when it opens a GPU, beside those that Paddle is built for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from imageclef_vqa.doctor.check import Check

# Two lines of Paddle's log (gpu_resources.cc), which stand there whether or not anything is wrong.
_LOADED = (
    re.compile(r"Driver API Version: (?P<driver>\d+\.\d+), Runtime API Version: (?P<runtime>\d+\.\d+)"),
    re.compile(r"cuDNN Version: (?P<cudnn>\d+\.\d+)"),
)


def loaded_versions(log: str) -> dict[str, str]:
    """`driver`, the newest CUDA that the driver supports, `runtime` and `cudnn`, as far as Paddle's log has them."""
    return {name: text for line in _LOADED if (found := line.search(log)) for name, text in found.groupdict().items()}


def check_gpu_software(built: Mapping[str, str], loaded: Mapping[str, str]) -> Iterator[Check]:
    """Compare what is loaded with Paddle's build, which has `cuda` and `cudnn`; nothing for a build without CUDA."""
    cuda, cudnn = _numbers(built.get("cuda", "")), _numbers(built.get("cudnn", ""))
    if not cuda or not cudnn:
        return
    if "driver" in loaded:
        yield _check_driver(cuda, _numbers(loaded["driver"]))
    if "cudnn" in loaded:
        yield _check_cudnn(cuda, cudnn, _numbers(loaded["cudnn"]))


def _check_driver(built: tuple[int, ...], driver: tuple[int, ...]) -> Check:
    found = f"Paddle is built for {_text(built)}, the driver supports up to {_text(driver)}"
    remedy = f"install a newer NVIDIA driver, or paddlepaddle-gpu for CUDA {driver[0]} (README, GPU)"
    if driver >= built:
        return Check("CUDA", "good", found)
    # Within a major version, newer libraries run on older drivers (NVIDIA's minor version compatibility).
    return Check("CUDA", "note" if driver[0] == built[0] else "stop", found, remedy)


def _check_cudnn(cuda: tuple[int, ...], built: tuple[int, ...], loaded: tuple[int, ...]) -> Check:
    found = f"Paddle is built for {_text(built)}, {_text(loaded)} is loaded"
    remedy = f"pip install 'nvidia-cudnn-cu{cuda[0]}=={_text(built)}.*'"
    if loaded[0] != built[0]:
        return Check("cuDNN", "stop", found, remedy)
    if loaded < built:
        # paddlepaddle-gpu 3.3.1 is built for 9.9 and asks pip for 9.5.
        return Check("cuDNN", "note", found, f"Paddle warns of it, and mostly works; {remedy} fits")
    return Check("cuDNN", "good", found)


def _numbers(version: str) -> tuple[int, ...]:
    """Major and minor version; nothing if the text, as `False` of a build for the CPU, is none."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
