"""The machine: what must be set before Paddle is imported, the device, and the seed."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

from imageclef_vqa.errors import MedvqaError, UsageError

# Parameters of mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_DEVICE = re.compile(r"(auto|cpu|(gpu|npu)(:\d+)?)")


def _set_environment() -> None:
    cores = str(len(os.sched_getaffinity(0)))
    # Paddle asks its MKL for one thread only, and reads this once, when it is loaded.
    os.environ.setdefault("MKL_NUM_THREADS", cores)
    if "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"):
        # The wheel's MKL takes a slow path on AMD processors unless told otherwise: 3 to 5 times slower products.
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
    # Views with strides make every later product copy its input first: 2 to 3 times slower on the CPU, and Ascend
    # has no kernels for them.
    os.environ.setdefault("FLAGS_use_stride_kernel", "0")
    os.environ.setdefault("GLOG_minloglevel", "2")
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


def prepare(device: str = "auto", *, seed: int) -> str:
    """Import Paddle on `device` with everything set for it, seed its generators, and return the device's name.

    Raises:
        UsageError: `device` is no device name.
        MedvqaError: there is no such device here; the message says what Paddle reports.
    """
    if not _DEVICE.fullmatch(device):
        raise UsageError(f"--device {device}: use cpu, gpu, gpu:<i>, npu, npu:<i> or auto")
    _set_environment()
    with _interruptions_held():
        import paddle

    paddle.disable_signal_handler()  # so that Ctrl-C reaches Python
    gpus = [f"gpu:{index}" for index in range(paddle.device.cuda.device_count())]
    there = ["cpu", *gpus, *paddle.device.get_available_custom_device()]
    if device == "auto":
        device = next((name for kind in ("npu", "gpu") for name in there if name.startswith(kind)), "cpu")
    wanted = device if device == "cpu" or ":" in device else f"{device}:0"
    if wanted not in there:
        raise MedvqaError(
            f"no device {wanted} here; Paddle {paddle.__version__} reports: {', '.join(there)}",
            remedy=_REMEDY[wanted.split(":")[0]],
        )
    with _interruptions_held():
        import paddlenlp.transformers  # noqa: F401  (some seconds, in which it would swallow a Ctrl-C)

    paddle.set_device(wanted)
    paddle.seed(seed)
    return wanted


_REMEDY = {
    "npu": "Ascend needs CANN and paddle-custom-npu of the same version as Paddle (README, Ascend); "
    "or use --device cpu",
    "gpu": "NVIDIA needs paddlepaddle-gpu in place of paddlepaddle; or use --device cpu",
}


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """No search for reference cycles meanwhile: records have none, and looking through them takes most of reading."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
