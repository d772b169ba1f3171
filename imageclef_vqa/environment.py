"""The process: what must be set before Paddle is imported, and the machine's cores and memory."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from imageclef_vqa import ascend
from imageclef_vqa.errors import UsageError

# Parameters of mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of control groups, version 2


def set_environment() -> None:
    """Set environment variables that Paddle and its libraries read once, at import; those of the user stay."""
    # Paddle gives MKL one thread by default. Processes that train together on this machine share its cores.
    own = max(1, len(os.sched_getaffinity(0)) // max(1, number_from("PADDLE_LOCAL_SIZE", 1)))
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
def library_import() -> Iterator[None]:
    """Within the block, a library is imported: Ctrl-C waits, and the folders that it makes in HOME are made elsewhere.

    A library that is interrupted during its import raises an ImportError. Paddle, PaddleNLP and Matplotlib make
    folders in HOME when they are imported, or fail if they cannot.
    """
    home, os.environ["HOME"] = os.environ.get("HOME"), str(user_cache())
    os.environ.setdefault("MPLCONFIGDIR", str(user_cache() / "matplotlib"))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        with sigterm_kept():
            yield
    finally:
        os.environ.pop("HOME") if home is None else os.environ.update(HOME=home)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def sigterm_kept() -> Iterator[None]:
    """After the block, SIGTERM is handled as before: Paddle and PaddleNLP put the system's default in its place."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


@functools.cache
def user_cache() -> Path:
    """`imageclef-vqa` in the user's cache folder (XDG_CACHE_HOME); where that cannot be written, a temporary folder."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imageclef-vqa"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: nobody knows where HOME is
        temporary = tempfile.mkdtemp(prefix="imageclef-vqa-")
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        return Path(temporary)


def interpreter(module: str, *arguments: str) -> list[str]:
    """The command that runs `module` in a new interpreter, which imports nothing from the current folder.

    `python -m` would look there first; its option `-P` against it needs Python 3.11. PYTHONPATH is kept.
    """
    start = "import sys; sys.path[:] = filter(None, sys.path); from runpy import run_module; "
    run = "run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
    return [sys.executable, "-c", start + run, module, *arguments]


@contextlib.contextmanager
def in_no_folder() -> Iterator[str]:
    """Within the block, `/` is the current folder: `multiprocessing` starts interpreters that import modules from it.

    Yields the folder before, to which those processes go.
    """
    here = os.getcwd()
    os.chdir("/")
    try:
        yield here
    finally:
        os.chdir(here)


def number_from(variable: str, default: int) -> int:
    """The whole number in an environment variable of Paddle's launcher.

    Raises:
        UsageError: it holds something else.
    """
    text = os.environ.get(variable, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise UsageError(f"the environment variable {variable} is {text!r}, not a number", remedy=f"unset {variable}")
    return int(text)


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


def free_ports(count: int) -> list[int]:
    """Ports of this machine that no process listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
