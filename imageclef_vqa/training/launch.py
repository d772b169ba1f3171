"""`medvqa finetune --devices 0,1,…`: the same command once per device, watched until all have ended.

Paddle is not imported here: each process imports it with its own environment, that of `paddle.distributed.launch`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO

from imageclef_vqa.errors import MedvqaError

_POLL = 0.1  # seconds
_GRACE = 10.0  # seconds that the others have to end by themselves


def launched() -> bool:
    """Whether this process is one of several that train together."""
    return "PADDLE_TRAINER_ID" in os.environ


def launch(arguments: Sequence[str], devices: Sequence[str]) -> int:
    """Run `medvqa` with `arguments` on each device, by its number; returns the exit code of the first process.

    What the first process prints is printed; what another says is shown if it fails on its own.

    Raises:
        MedvqaError: a process ended in another way than by itself; the others were ended.
    """
    processes: list[subprocess.Popen] = []
    voices: list[IO[str]] = []
    ports = _free_ports(len(devices))
    try:
        for rank in range(len(devices)):
            voices.append(tempfile.TemporaryFile("w+", errors="replace"))  # noqa: SIM115 (closed below)
            command = [sys.executable, "-m", "imageclef_vqa", *arguments]
            out, err = (None, None) if rank == 0 else (subprocess.DEVNULL, voices[rank])
            processes.append(subprocess.Popen(command, env=_environment(rank, devices, ports), stdout=out, stderr=err))
        return _watch(processes, voices, devices)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for voice in voices:
            voice.close()


def _watch(processes: list[subprocess.Popen], voices: list[IO[str]], devices: Sequence[str]) -> int:
    while all(code in (None, 0) for code in (process.poll() for process in processes)):
        if all(process.poll() == 0 for process in processes):
            return 0
        time.sleep(_POLL)
    codes = {rank: code for rank, process in enumerate(processes) if (code := process.poll())}
    rank = min(codes, key=lambda rank: codes[rank] > 0)  # who was ended by force is why others failed
    code = codes[rank]
    if code < 0:
        _end(processes)
        raise MedvqaError(
            f"process {rank + 1} of {len(devices)} (device {devices[rank]}) was ended by {_signal(-code)}; "
            "the others were ended too",
            remedy="the same command goes on from the last saved state, on as many devices as you like",
        )
    # It has failed and said why; the first process tells the user, unless it waits for one that is gone.
    deadline = time.monotonic() + _GRACE
    while processes[0].poll() is None and time.monotonic() < deadline:
        time.sleep(_POLL)
    _end(processes)
    if processes[0].returncode > 0:
        return int(processes[0].returncode)
    voices[rank].seek(0)
    raise MedvqaError(
        f"process {rank + 1} of {len(devices)} (device {devices[rank]}) failed; the others were ended:\n"
        f"{voices[rank].read()[-2000:].strip()}"
    )


def _end(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        process.kill()  # nothing needs to be tidied: every file is written whole or not at all
        process.wait()


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _environment(rank: int, devices: Sequence[str], ports: Sequence[int]) -> dict[str, str]:
    """What `paddle.distributed.launch` would set."""
    endpoints = [f"127.0.0.1:{port}" for port in ports]
    return os.environ | {
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


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
