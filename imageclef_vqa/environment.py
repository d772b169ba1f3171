"""The process: what must be set before Paddle is imported, and the machine's cores and memory."""

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
    """Set environment variables that Paddle and its libraries read once, at import; those of the user stay."""
    # Paddle gives MKL one thread by default. Processes that train together on this machine share its cores.
    own = max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("PADDLE_LOCAL_SIZE", "1")))
    os.environ.setdefault("MKL_NUM_THREADS", str(own))
    if "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"):
        # The wheel's MKL takes a slow path on AMD processors unless told otherwise: 3 to 5 times slower products.
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
    # Strided views make every later product copy its input first: 2 to 3 times slower on the CPU. Ascend has no
    # kernels for them.
    os.environ.setdefault("FLAGS_use_stride_kernel", "0")
    os.environ.setdefault("GLOG_minloglevel", "2")
    if ascend.plugin():
        for name, value in ascend.ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    _keep_freed_memory()
    # At import Paddle warns about a compiler cache, threads and setuptools; users can do nothing about these.
    warnings.filterwarnings("ignore", module=r"paddle\..*|_distutils_hack.*|paddlenlp\..*|jieba.*")


def _keep_freed_memory() -> None:
    """Let glibc reuse large blocks instead of asking the kernel for new pages for every tensor.

    An addition of 2.5 MB took 4 ms before and 0.05 ms after (Paddle 3.3.1).
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@contextlib.contextmanager
def interruptions_held() -> Iterator[None]:
    """Delay Ctrl-C: a library that is interrupted during its import raises an ImportError."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def cores() -> int:
    """Cores to compute on: those of this process, or fewer if the user has set MKL_NUM_THREADS."""
    available, wanted = len(os.sched_getaffinity(0)), os.environ.get("MKL_NUM_THREADS", "")
    return min(available, int(wanted)) if wanted.isdecimal() and int(wanted) else available


def machine_memory() -> int:
    """Bytes of the machine's memory, or of a container's limit."""
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(installed, int(_MEMORY_LIMIT.read_text(encoding="ascii")))
    except (OSError, ValueError):  # no limit is written "max"
        return installed


def size_of(number: float) -> str:
    """Bytes in MB or GB, as in `1.5 GB`."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.3g} MB"
