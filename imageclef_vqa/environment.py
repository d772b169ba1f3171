"""The process: what must be set before Paddle is imported, and what the machine has."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

from imageclef_vqa import ascend

# Parameters of mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of control groups, version 2


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
def interruptions_held() -> Iterator[None]:
    """Let Ctrl-C wait: a library that is interrupted while it sets itself up ends in an ImportError."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
