"""The machine: what must be set before Paddle is imported, the device, its precision, and the seed."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from imageclef_vqa import ascend
from imageclef_vqa.errors import MedvqaError, UsageError

Precision = Literal["fp32", "fp16", "bf16"]
# Parameters of mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of control groups, version 2
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"
_NUMBER = r"(0|[1-9]\d{0,3})"
_DEVICE = re.compile(rf"auto|cpu|(gpu|npu)(:{_NUMBER})?")
_ONE_OF_SEVERAL = re.compile(rf"{_NUMBER}|cpu|(gpu|npu):{_NUMBER}")


def set_environment() -> None:
    """Set what Paddle and its libraries read once, when they are loaded; what the user has set stays."""
    # Paddle asks its MKL for one thread only. Processes that train together on this machine share its cores.
    own = max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("PADDLE_LOCAL_SIZE", "1")))
    os.environ.setdefault("MKL_NUM_THREADS", str(own))
    if "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"):
        # The wheel's MKL takes a slow path on AMD processors unless told otherwise: 3 to 5 times slower products.
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
    # Views with strides make every later product copy its input first: 2 to 3 times slower on the CPU, and Ascend
    # has no kernels for them.
    os.environ.setdefault("FLAGS_use_stride_kernel", "0")
    os.environ.setdefault("GLOG_minloglevel", "2")
    if ascend.plugin():
        for name, value in ascend.ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    _keep_freed_memory()
    # Paddle warns of a compiler cache, of threads and of setuptools at import: nothing that a user can act on.
    warnings.filterwarnings("ignore", module=r"paddle\..*|_distutils_hack.*|paddlenlp\..*|jieba.*")


def _keep_freed_memory() -> None:
    """Let glibc reuse large blocks in place of fresh pages from the kernel for every tensor: an addition of 2.5 MB
    took 4 ms before and 0.05 ms after (Paddle 3.3.1)."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@contextlib.contextmanager
def _interruptions_held() -> Iterator[None]:
    """Let Ctrl-C wait: a library that is interrupted while it sets itself up ends in an ImportError."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def devices() -> list[str]:
    """All devices that Paddle reports, the CPU first; imports Paddle with everything set for it.

    Raises:
        MedvqaError: a plug-in for custom devices is there, and Paddle cannot be loaded with it.
    """
    set_environment()
    try:
        with _interruptions_held():
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
    there = devices()
    if wanted == "auto":
        wanted = _with_index(next((kind for kind in ("npu", "gpu") for name in there if name.startswith(kind)), "cpu"))
    if wanted not in there:
        raise _missing(wanted, there)
    import paddle

    paddle.disable_signal_handler()  # so that Ctrl-C reaches Python
    with _interruptions_held():
        import paddlenlp.transformers  # noqa: F401  (some seconds, in which it would swallow a Ctrl-C)

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


def cores() -> int:
    """How many cores to compute on: those of this process, fewer where the user has set MKL_NUM_THREADS."""
    there, told = len(os.sched_getaffinity(0)), os.environ.get("MKL_NUM_THREADS", "")
    return min(there, int(told)) if told.isdecimal() and int(told) else there


def machine_memory() -> int:
    """Bytes of the machine's memory or, in a container with a limit, of what it may have."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(there, int(_MEMORY_LIMIT.read_text(encoding="ascii")))
    except (OSError, ValueError):  # no limit is written "max"
        return there


def size_of(number: float) -> str:
    """Bytes as people read them."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.3g} MB"


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


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """No search for reference cycles meanwhile: records have none, and looking through them takes most of reading."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.freeze()
            gc.unfreeze()  # all that was read has lived long: else the next record would set off a search through it
            gc.enable()


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """NumPy, if it is first imported meanwhile, gets one thread to multiply in, unless the user has said how many.

    Others would run in circles until a product is large enough for them: 0.1 s of a command that has small ones.
    """
    if _BLAS_THREADS in os.environ:
        yield
        return
    os.environ[_BLAS_THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[_BLAS_THREADS]
