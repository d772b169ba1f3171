"""Errors of devices that users have reported, with what mended them."""

from __future__ import annotations

import re

# Pattern of the message → remedy; the source stands behind each.
_KNOWN = (
    # PaddlePaddle/PaddleX issue 2193
    (
        r"(?P<path>\S*libgomp\S*?): cannot allocate memory in static TLS block",
        "start the command with LD_PRELOAD={path}: on aarch64 this library must be loaded first",
    ),
    # PaddlePaddle/Paddle issue 68865
    (r"\b507033\b", "the driver is too new for CANN: install driver 23.0.3, or a newer CANN with a plug-in for it"),
    # PaddlePaddle/PaddleCustomDevice issue 2452
    (
        r"Fail to open library.*undefined symbol|undefined symbol.*libpaddle-custom-npu",
        "CANN is not the version that the plug-in is built for: install CANN 8.0 and source its set_env.sh",
    ),
    (
        r"lib(ascendcl|hccl|acl\w*|ge_\w+)\.so\S*: cannot open shared object file",
        "source CANN's set_env.sh in this shell: its libraries are not found",
    ),
    (r"compiled using NumPy 1|_ARRAY_API not found", "pip install 'numpy==1.26.4': the plug-in is built for NumPy 1"),
    # NVIDIA's own texts
    (
        r"CUDA driver version is insufficient|CUDA error\(?35\)?\b",
        "install a newer NVIDIA driver, or paddlepaddle-gpu for an older CUDA (README, GPU)",
    ),
    (
        r"libcudnn\S*: cannot open|cudnn.*(not found|version.*mismatch)",
        "install the cuDNN of Paddle's build, as "
        "`pip install nvidia-cudnn-cu12`, or another paddlepaddle-gpu (README, GPU)",
    ),
    (
        r"[Oo]ut of memory|OutOfMemory|507899",
        "another process may hold the memory: see `nvidia-smi` or `npu-smi info`",
    ),
)


def remedy_for(message: str) -> str | None:
    """What mended this error for others; None if it is not known."""
    for pattern, remedy in _KNOWN:
        if found := re.search(pattern, message, re.DOTALL):
            return remedy.format(**found.groupdict())
    return None
