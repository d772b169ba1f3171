"""The device: its name, its precision, and the seed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from imageclef_vqa import ascend
from imageclef_vqa.environment import interruptions_held, set_environment
from imageclef_vqa.errors import MedvqaError, UsageError

Precision = Literal["fp32", "fp16", "bf16"]
_NUMBER = r"(0|[1-9]\d{0,3})"
_DEVICE = re.compile(rf"auto|cpu|(gpu|npu)(:{_NUMBER})?")
_ONE_OF_SEVERAL = re.compile(rf"{_NUMBER}|cpu|(gpu|npu):{_NUMBER}")


def available_devices() -> list[str]:
    """All devices that Paddle reports, the CPU first; imports Paddle with everything set for it.

    Raises:
        MedvqaError: a plug-in for custom devices is there, and Paddle cannot be loaded with it.
    """
    set_environment()
    try:
        with interruptions_held():
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
    """`device`, if it is what a device may be called.

    Raises:
        UsageError: it is no device name.
    """
    if not _DEVICE.fullmatch(device):
        raise UsageError(f"--device {device}: use cpu, gpu, gpu:<i>, npu, npu:<i> or auto")
    return device


def parse_devices(text: str, device: str) -> list[str]:
    """What stands in `--devices`: numbers of the kind in `--device`, `0,1`, or names, `npu:0,npu:1` or `cpu,cpu`.

    Raises:
        UsageError: it is no such list, names a device twice, or `device` is one by itself.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(_ONE_OF_SEVERAL.fullmatch(part) for part in parts):
        raise UsageError(f"--devices {text}: use numbers with commas between them, as in 0,1")
    if ":" in device:
        raise UsageError(f"--device {device} with --devices: say which with one of them")
    numbered = [part for part in parts if part != "cpu"]
    if len(set(numbered)) < len(numbered):
        raise UsageError(f"--devices {text}: each device once")
    return parts


def check_device(device: str) -> str:
    """`device`, unless there can be none, as far as is known without importing Paddle, which takes seconds.

    Raises:
        UsageError: it is no device name.
        MedvqaError: it is an NPU, and nothing here teaches Paddle about these.
    """
    if check_name(device).startswith("npu") and ascend.plugin() is None:
        raise _missing(_with_index(device), ["no plug-in for custom devices"])
    return device


def prepare(device: str = "auto", *, seed: int) -> str:
    """Import Paddle on `device` with everything set for it, seed its generators, and return the device's name.

    Raises:
        UsageError: `device` is no device name.
        MedvqaError: there is no such device here; the message says what Paddle reports.
    """
    wanted = _with_index(check_device(device))
    there = available_devices()
    if wanted == "auto":
        wanted = _with_index(next((kind for kind in ("npu", "gpu") for name in there if name.startswith(kind)), "cpu"))
    if wanted not in there:
        raise _missing(wanted, there)
    import paddle

    paddle.disable_signal_handler()  # so that Ctrl-C reaches Python
    paddle.set_device(wanted)
    paddle.seed(seed)
    return wanted


def _with_index(device: str) -> str:
    """`npu` → `npu:0`, or this process's own among several, as Paddle's launcher and `finetune --devices` say it."""
    if device in ("cpu", "auto") or ":" in device:
        return device
    return f"{device}:{os.environ.get(f'FLAGS_selected_{device}s', '0').split(',')[0]}"


def device_in_use() -> str:
    """As `prepare` has set it."""
    import paddle

    return str(paddle.get_device())


def memory_in_use() -> int:
    """Bytes that this process holds: on the device, or of the machine's memory where it computes on the CPU."""
    import paddle

    kind, _, index = device_in_use().partition(":")
    if kind != "cpu":  # in words that Paddle 3.0 has as well, for GPUs and other devices alike
        return int(paddle.base.core.device_memory_stat_current_value("Reserved", int(index or 0)))
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def bucketed(size: int) -> int:
    """The size itself, or on an NPU the next of few, four to an octave: it compiles a graph for every shape it sees."""
    if not device_in_use().startswith("npu"):
        return size
    step = max(8, 2 ** (size.bit_length() - 3))
    return -(-size // step) * step


def _missing(device: str, there: list[str]) -> MedvqaError:
    kind = device.split(":")[0]
    others = [name for name in there if name.startswith(kind)]
    remedy = f"--device {' or '.join(others)} would do" if others else _REMEDY[kind]
    return MedvqaError(f"no device {device} here; {_paddle()} reports: {', '.join(there)}", remedy=remedy)


def _paddle() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"Paddle {version('paddlepaddle')}"
    except PackageNotFoundError:
        return "Paddle"


def _reason(error: Exception) -> str:
    """What the dynamic linker said, of the several lines in which Paddle wraps it: `lib….so: cannot open …`."""
    found = re.search(r"Fail to open library: \S+ with error: (.+)", str(error))
    return found[1] if found else str(error).strip().splitlines()[0]


PLUGIN_REMEDY = (
    "it needs CANN's environment (source /usr/local/Ascend/ascend-toolkit/set_env.sh) and Paddle in its own version;\n"
    "Paddle loads it for the CPU, too: without cards, uninstall it or unset CUSTOM_DEVICE_ROOT"
)


_REMEDY = {
    "npu": "Ascend needs CANN with its environment (source /usr/local/Ascend/ascend-toolkit/set_env.sh) and "
    "paddle-custom-npu\nof the same version as Paddle (README, Ascend); `medvqa doctor` looks at all of it; "
    "or use --device cpu",
    "gpu": "NVIDIA needs paddlepaddle-gpu in place of paddlepaddle; or use --device cpu",
}


def best_precision(device: str) -> Precision:
    """`bf16` where the device computes in it, else `fp16`; `fp32` where it has neither, as the CPU, or is not known, as
    an NPU without `npu-smi`: its plug-in speaks for itself, not for the card."""
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
