"""`medvqa finetune --devices 0,1,…`: one process per device, watched until all have ended.

Free of Paddle: each process imports it with an environment like that of `paddle.distributed.launch`.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO

from imageclef_vqa.environment import free_ports, interpreter
from imageclef_vqa.errors import CALLED_AS, MedvqaError, program

_POLL = 0.1  # seconds
_GRACE = 10.0  # seconds in which the first process may end by itself after another one has failed


def launched() -> bool:
    """Whether this process was started by `launch` or by `paddle.distributed.launch`."""
    return "PADDLE_TRAINER_ID" in os.environ


class QuickExit:
    """Registered with `atexit` before anything else, ends a launched process after all other exit handlers.

    The destructors of C++ do not run then: gloo's threads may still use what they destroy, and processes that had done
    their work were ended by SIGABRT (Paddle 3.3.1, on a busy machine).
    """

    def __init__(self) -> None:
        self.code: object = 1
        if launched():
            atexit.register(self._leave)

    def _leave(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(self.code if isinstance(self.code, int) else int(self.code is not None))


def launch(arguments: Sequence[str], devices: Sequence[str]) -> int:
    """Run `medvqa` with `arguments` on each device (a number); returns the exit code of the first process.

    The output of the first process is printed, that of another one only if it fails and the first does not.

    Raises:
        MedvqaError: a process was killed by a signal, or one other than the first failed; all others were ended.
    """
    processes: list[subprocess.Popen] = []
    outputs: list[IO[str]] = []
    ports = free_ports(len(devices))
    try:
        for rank in range(len(devices)):
            outputs.append(tempfile.TemporaryFile("w+", errors="replace"))  # noqa: SIM115 (closed below)
            command = interpreter("imageclef_vqa", *arguments)
            out, err = (None, None) if rank == 0 else (subprocess.DEVNULL, outputs[rank])
            processes.append(subprocess.Popen(command, env=_environment(rank, devices, ports), stdout=out, stderr=err))
        return _watch(processes, outputs, devices)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for output in outputs:
            output.close()


def _watch(processes: list[subprocess.Popen], outputs: list[IO[str]], devices: Sequence[str]) -> int:
    while all(code in (None, 0) for code in (process.poll() for process in processes)):
        if all(process.poll() == 0 for process in processes):
            return 0
        time.sleep(_POLL)
    codes = {rank: code for rank, process in enumerate(processes) if (code := process.poll())}
    rank = min(codes, key=lambda rank: codes[rank] > 0)  # a killed process comes first: it is why others failed
    code = codes[rank]
    if code < 0:
        _end(processes)
        raise MedvqaError(
            f"process {rank + 1} of {len(devices)} (device {devices[rank]}) was killed by {_signal(-code)}; "
            "the others were ended too",
            remedy="the same command resumes from the last saved state, on any number of devices",
        )
    # The first process reports the error, unless it waits for a process that has ended.
    deadline = time.monotonic() + _GRACE
    while processes[0].poll() is None and time.monotonic() < deadline:
        time.sleep(_POLL)
    _end(processes)
    if processes[0].returncode > 0:
        return int(processes[0].returncode)
    outputs[rank].seek(0)
    raise MedvqaError(
        f"process {rank + 1} of {len(devices)} (device {devices[rank]}) failed; the others were ended:\n"
        f"{outputs[rank].read()[-2000:].strip()}"
    )


def _end(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        process.kill()  # safe at any time: every file is written atomically
        process.wait()


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _environment(rank: int, devices: Sequence[str], ports: Sequence[int]) -> dict[str, str]:
    """The environment that `paddle.distributed.launch` would set."""
    endpoints = [f"127.0.0.1:{port}" for port in ports]
    return os.environ | {
        CALLED_AS: program(),
        "PADDLE_TRAINER_ID": str(rank),
        "PADDLE_TRAINERS_NUM": str(len(devices)),
        "PADDLE_LOCAL_SIZE": str(len(devices)),
        "PADDLE_LOCAL_RANK": str(rank),
        "PADDLE_TRAINER_ENDPOINTS": ",".join(endpoints),
        "PADDLE_CURRENT_ENDPOINT": endpoints[rank],
        "PADDLE_MASTER": endpoints[0],
        "FLAGS_selected_gpus": devices[rank],
        "FLAGS_selected_npus": devices[rank],
    }
