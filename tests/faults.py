"""Signals at random moments over all commands, disks that fill at random sizes, and Ctrl-C from the start on.

`python tests/faults.py kill|disk|interrupt --tries 30 --seed 0` prints a line for each try. An interrupted command is
run again and has to leave the bytes that one leaves which was not interrupted, and nothing else in the workspace.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from hostile import REPOSITORY, program, small_disk

from imageclef_vqa.synthetic import write_synthetic_dataset

QUICK = "--preset tiny --max-minutes 5 --epochs 1 --batch 8 --seed 0 --device cpu"
CHAIN = [
    "split --val 0.25",
    f"finetune --stage 1 {QUICK}",
    f"finetune --stage 2 {QUICK}",
    "predict --device cpu --devices 0",
    "route --device cpu --expert classical",
    "score",
    "package --out run.csv --force",
]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
CODES = (0, 1, 2, 130, -signal.SIGKILL)
# Times, and pictures of times: these differ between two chains that are alike.
UNEQUAL = {"log.jsonl", "loss.png", "report.html", ".lock", "scores.json", "scores.json.record.json"}


class FaultError(Exception):
    """What must not happen after a fault."""


def start(command: str, workspace: Path) -> subprocess.Popen[str]:
    """A command in the workspace, in a process of its own, with its output."""
    return subprocess.Popen(
        program(*command.split()),
        cwd=workspace,
        env={"PATH": "/usr/bin:/bin", "HOME": str(workspace), "XDG_CACHE_HOME": tempfile.gettempdir(),
             "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str], command: str) -> tuple[int, str]:
    """Exit code and output of a command that was started.

    Raises:
        FaultError: it shows a traceback, has another exit code than it may, or does not end.
    """
    try:
        output = process.communicate(timeout=600)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        raise FaultError(f"{command}: does not end") from None
    if "Traceback" in output or process.returncode not in CODES:
        raise FaultError(f"{command}: {process.returncode}\n{output[-3000:]}")
    return process.returncode, output


def whole(command: str, workspace: Path) -> str:
    """The output of a command that has to succeed."""
    code, output = finish(start(command, workspace), command)
    if code:
        raise FaultError(f"{command}: {code}\n{output[-2000:]}")
    return output


def snapshot(workspace: Path) -> dict[str, str]:
    """Every file of a workspace and the hash of what it holds."""
    return {
        str(path.relative_to(workspace)): "" if path.name in UNEQUAL else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(workspace.rglob("*"))
        if path.is_file() and "cache" not in path.parts
    }


def compare(workspace: Path, expected: dict[str, str]) -> None:
    """Check that a workspace holds what is expected, and no more.

    Raises:
        FaultError: a file is missing, differs or is too much, or a partial one is left.
    """
    found = snapshot(workspace)
    if differing := sorted(name for name in found | expected if found.get(name) != expected.get(name)):
        raise FaultError(f"these differ, are missing or too much: {', '.join(differing)}")
    if parts := [str(path) for path in workspace.rglob(".*.part")]:
        raise FaultError(f"left behind: {', '.join(parts)}")


class Prepared(NamedTuple):
    """A command, the workspace before it, what the workspace holds after it, and how long it takes in seconds."""

    command: str
    before: Path
    expected: dict[str, str]
    seconds: float
    size: int  # bytes that the workspace takes after it

    @property
    def name(self) -> str:
        return self.command.split(" --")[0]


def prepared(folder: Path) -> list[Prepared]:
    """Every command of the chain, after all of them were run once in `folder`."""
    workspace, found = folder / "whole", []
    write_synthetic_dataset(workspace / "data", images=16, test=4, seed=0)
    for number, command in enumerate(CHAIN):
        before = folder / f"before{number}"
        shutil.copytree(workspace, before)
        started = time.monotonic()
        whole(command, workspace)
        found.append(Prepared(command, before, snapshot(workspace), time.monotonic() - started, size_of(workspace)))
    return found


def size_of(folder: Path) -> int:
    """Bytes of the pages that the files of a folder take on a tmpfs."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def kill(tries: int, seed: int) -> Iterator[str]:
    """Kill commands at random moments, run them again, and compare."""
    random = Random(seed)
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        chain, workspace = prepared(Path(name)), Path(name) / "try"
        for number in range(tries):
            each, how = chain[number % len(chain)], SIGNALS[number % len(SIGNALS)]
            shutil.copytree(each.before, workspace)
            moment = random.uniform(0.2, max(0.5, each.seconds))
            process = start(each.command, workspace)
            time.sleep(moment)
            process.send_signal(how)
            code, _ = finish(process, each.command)
            whole(each.command, workspace)
            compare(workspace, each.expected)
            shutil.rmtree(workspace)
            yield f"{how.name:7} after {moment:5.2f} s of {each.name:9} exit code {code:4}; then the same bytes"


def disk(tries: int, seed: int) -> Iterator[str]:
    """Run commands on disks of random sizes; where one fills, run it again with more room, and compare."""
    random = Random(seed)
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        chain = prepared(Path(name))
        for number in range(tries):
            each = chain[number % len(chain)]
            used = size_of(each.before)
            size = int(used + 50_000 + random.random() * 1.5 * (each.size - used + 100_000))
            with small_disk(str(size)) as workspace:
                shutil.copytree(each.before, workspace, dirs_exist_ok=True)
                code, output = finish(start(each.command, workspace), each.command)
                if code:
                    if code != 1 or f"the disk at {workspace} is full" not in output:
                        raise FaultError(f"{each.command} on {size} bytes: {code}\n{output[-3000:]}")
                    if parts := [str(path) for path in workspace.rglob(".*.part")]:
                        raise FaultError(f"{each.command} on {size} bytes left behind: {', '.join(parts)}")
                    subprocess.run(["mount", "-o", "remount,size=500m", str(workspace)], check=True)
                    whole(each.command, workspace)
                compare(workspace, each.expected)
            ending = "the disk is full, an error; then the same bytes" if code else "enough; the same bytes"
            yield f"{each.name:9} on {size:>10,} bytes: {ending}"


def interrupt(tries: int, seed: int) -> Iterator[str]:
    """Send Ctrl-C to a command at random moments from its start on: exit code 130, and no traceback."""
    random = Random(seed)
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        chain, workspace = prepared(Path(name)), Path(name) / "try"
        for number in range(tries):
            each = chain[number % len(chain)]
            shutil.copytree(each.before, workspace)
            moment = random.uniform(0.05, 0.8 * each.seconds)
            process = start(each.command, workspace)
            time.sleep(moment)
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=600)[0]
            shutil.rmtree(workspace)
            if "Traceback" in output or process.returncode not in (0, 130):
                raise FaultError(f"{each.command} after {moment:.2f} s: {process.returncode}\n{output[-3000:]}")
            yield f"Ctrl-C after {moment:5.2f} s of {each.name:9} exit code {process.returncode}"


FAULTS = {"kill": kill, "disk": disk, "interrupt": interrupt}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fault", choices=FAULTS)
    parser.add_argument("--tries", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    try:
        for line in FAULTS[words.fault](words.tries, words.seed):
            print(line, flush=True)
    except FaultError as error:
        sys.exit(f"FAULT: {error}")
