"""Devices: their names, the choice of one, its precision, and its memory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from imageclef_vqa import ascend
from imageclef_vqa.environment import library_import, set_environment, sigterm_kept
from imageclef_vqa.errors import MedvqaError, UsageError

Precision = Literal["fp32", "fp16", "bf16"]
_NUMBER = r"(0|[1-9]\d{0,3})"
_DEVICE = re.compile(rf"auto|cpu|(gpu|npu)(:{_NUMBER})?")
_ONE_OF_SEVERAL = re.compile(rf"{_NUMBER}|cpu|(gpu|npu):{_NUMBER}")


def available_devices() -> list[str]:
    """All devices that Paddle reports, the CPU first. Imports Paddle after setting up the process for it.

    Raises:
        MedvqaError: Paddle cannot load an installed plug-in for custom devices.
    """
    set_environment()
    try:
        with library_import():
            import paddle
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        if (plugin := ascend.plugin()) is None:
            raise
        raise MedvqaError(
            f"{_paddle()} cannot load the plug-in in {plugin}: {_reason(error)}", remedy=PLUGIN_REMEDY
        ) from None

    gpus = [f"gpu:{index}" for index in range(paddle.device.cuda.device_count())]
    return ["cpu", *gpus, *paddle.device.get_available_custom_device()]


def check_name(device: str) -> str:
    """`device`, if it is a valid device name.

    Raises:
        UsageError: it is not.
    """
    if not _DEVICE.fullmatch(device):
        raise UsageError(f"--device {device}: use cpu, gpu, gpu:<i>, npu, npu:<i> or auto")
    return device


def parse_devices(text: str, device: str) -> list[str]:
    """The parts of `--devices`: numbers, as in `0,1`, of the kind in `--device`; or names, as in `npu:0,npu:1`.

    Raises:
        UsageError: it is no such list, names a device twice, or `--device` also has a number.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(_ONE_OF_SEVERAL.fullmatch(part) for part in parts):
        raise UsageError(f"--devices {text}: use numbers separated by commas, as in 0,1")
    if ":" in device:
        raise UsageError(f"--device {device} with --devices: give the numbers in one of them")
    numbered = [part for part in parts if part != "cpu"]
    if len(set(numbered)) < len(numbered):
        raise UsageError(f"--devices {text}: name each device once")
    return parts


def parse_numbers(text: str, device: str) -> list[str]:
    """The numbers in `--devices`, for a command that takes no names there.

    Raises:
        UsageError: as `parse_devices`, or a part is a name.
    """
    numbers = parse_devices(text, device)
    if not all(number.isdigit() for number in numbers):
        raise UsageError(f"--devices {text}: give numbers, as in 0,1, and their kind in --device")
    return numbers


def check_device(device: str) -> str:
    """`device`, unless this machine cannot have it. Does not import Paddle, which takes seconds.

    Raises:
        UsageError: it is no device name.
        MedvqaError: it is an NPU, and Paddle's plug-in for NPUs is not installed.
    """
    if check_name(device).startswith("npu") and ascend.plugin() is None:
        raise _missing(_with_index(device), ["no plug-in for custom devices"])
    return device


def prepare(device: str = "auto", *, seed: int) -> str:
    """Import Paddle, select `device`, seed the random generators, and return the device's full name, as in `npu:0`.

    Raises:
        UsageError: `device` is no device name.
        MedvqaError: there is no such device; the message lists those that Paddle reports.
    """
    wanted = _with_index(check_device(device))
    there = available_devices()
    if wanted == "auto":
        wanted = _with_index(next((kind for kind in ("npu", "gpu") for name in there if name.startswith(kind)), "cpu"))
    if wanted not in there:
        raise _missing(wanted, there)
    import paddle

    with sigterm_kept():
        paddle.disable_signal_handler()  # so that Ctrl-C reaches Python
    paddle.set_device(wanted)
    paddle.seed(seed)
    return wanted


def _with_index(device: str) -> str:
    """`npu` → `npu:0`; among several processes, the one that `finetune --devices` or Paddle's launcher chose."""
    if device in ("cpu", "auto") or ":" in device:
        return device
    return f"{device}:{os.environ.get(f'FLAGS_selected_{device}s', '0').split(',')[0]}"


def device_in_use() -> str:
    """The device that `prepare` selected."""
    import paddle

    return str(paddle.get_device())


def memory_in_use() -> int:
    """Bytes that this process holds on the device; on the CPU, in the machine's memory."""
    import paddle

    kind, _, index = device_in_use().partition(":")
    if kind != "cpu":  # the one function for this that Paddle 3.0 has, too, and that serves all devices
        return int(paddle.base.core.device_memory_stat_current_value("Reserved", int(index or 0)))
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def bucketed(size: int) -> int:
    """`size`; on an NPU, which compiles a graph for every shape, rounded up to one of four sizes per octave."""
    if not device_in_use().startswith("npu"):
        return size
    step = max(8, 2 ** (size.bit_length() - 3))
    return -(-size // step) * step


def _missing(device: str, there: list[str]) -> MedvqaError:
    kind = device.split(":")[0]
    others = [name for name in there if name.startswith(kind)]
    remedy = f"use --device {' or '.join(others)}" if others else _REMEDY[kind]
    return MedvqaError(f"no device {device} here; {_paddle()} reports: {', '.join(there)}", remedy=remedy)


def _paddle() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"Paddle {version('paddlepaddle')}"
    except PackageNotFoundError:
        return "Paddle"


def _reason(error: Exception) -> str:
    """The dynamic linker's message, `lib….so: cannot open …`, without the lines that Paddle adds."""
    found = re.search(r"Fail to open library: \S+ with error: (.+)", str(error))
    return found[1] if found else str(error).strip().splitlines()[0]


PLUGIN_REMEDY = (
    "it needs CANN's environment (source /usr/local/Ascend/ascend-toolkit/set_env.sh) and the same version of Paddle;\n"
    "Paddle loads it on the CPU, too: without cards, uninstall it or unset CUSTOM_DEVICE_ROOT"
)


_REMEDY = {
    "npu": "Ascend needs CANN with its environment (source /usr/local/Ascend/ascend-toolkit/set_env.sh) and "
    "paddle-custom-npu\nof the same version as Paddle (README, Ascend); `medvqa doctor` checks all of it; "
    "or use --device cpu",
    "gpu": "NVIDIA GPUs need paddlepaddle-gpu instead of paddlepaddle; or use --device cpu",
}


def best_precision(device: str) -> Precision:
    """`bf16` if the device computes in it, else `fp16`, else `fp32` (the CPU, and an NPU without `npu-smi`).

    An NPU's plug-in reports what it was built for and not what the card can do."""
    if device == "cpu":
        return "fp32"
    if device.startswith("npu"):
        return next((card.precision for card in ascend.cards()), "fp32")
    import paddle

    halves: dict[Precision, Callable[[str], bool]] = {
        "bf16": paddle.amp.is_bfloat16_supported,
        "fp16": paddle.amp.is_float16_supported,
    }
    return next((name for name, supported in halves.items() if supported(device)), "fp32")
