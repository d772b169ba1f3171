"""Answering batch by batch, on one device here or in several processes.

Whoever answers a batch answers it whole, and batches are always cut alike: the answers do not depend on who did.
This file is light: a process must be told its device and threads before Paddle is imported.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from imageclef_vqa import environment
from imageclef_vqa.data import Dataset, load_pixels
from imageclef_vqa.devices import prepare
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inference.journal import Journal
from imageclef_vqa.progress import progress_display, track
from imageclef_vqa.workspace import Workspace

if TYPE_CHECKING:
    from imageclef_vqa.inference.answerer import Answerer

# A process takes as long to start as five batches of `tiny`, and uses half of the memory at most.
_BATCHES_THAT_PAY = 8
_POLL = 0.2  # seconds


@dataclass(frozen=True)
class Task:
    """Images to be answered by one run, and where the answers go."""

    title: str
    dataset: Dataset
    journal: Journal
    image_size: int
    freely: bool  # what the model says unconstrained, in place of ranked answers
    augmented: bool


def device_names(device: str, parts: Sequence[str]) -> tuple[str, ...]:
    """The devices that the `parts` of `--devices` say, numbers being of the kind of `device`; without parts this one
    alone, and none for the CPU, where `predict` finds how many processes pay."""
    if not parts:
        return () if device == "cpu" else (device,)
    kind = device.split(":")[0]
    return tuple(part if not part.isdigit() else "cpu" if kind == "cpu" else f"{kind}:{part}" for part in parts)


def processes_that_pay(tasks: Sequence[Task], planned: float) -> int:
    """How many processes with `planned` bytes each answer all of `tasks` soonest on the CPU.

    Within a process, products alone use all cores: with a core each, two answered 1.4 to 1.5 times as many pairs. Sums
    depend on a process's threads, so this depends on nothing that changes where an interrupted call goes on.
    """
    batches = sum(task.journal.batches for task in tasks)
    room = int(environment.machine_memory() / 2 / planned)
    return max(1, min(environment.cores(), batches // _BATCHES_THAT_PAY, room))


def answer_tasks(workspace: Workspace, tasks: Sequence[Task], devices: Sequence[str]) -> None:
    """Fill the journals of all tasks by the run in `place`.

    Raises:
        MedvqaError: a process failed; what was answered is kept.
    """
    for task in tasks:
        load_pixels(task.dataset, task.image_size, workspace.cache)  # decoded once, before several ask for them
    if len(devices) == 1:
        _answer_share(workspace, tasks, 0, 1)
    elif any(task.journal.missing for task in tasks):
        _in_processes(workspace, tasks, devices)


def _answer_share(workspace: Workspace, tasks: Sequence[Task], share: int, shares: int) -> None:
    """Answer every batch whose number falls to this share; the model is loaded when there is a first one."""
    parent, answerer = os.getppid(), None
    for task in tasks:
        todo = [number for number in task.journal.missing if number % shares == share]
        if not todo:
            continue
        answerer = answerer or _answerer(workspace)
        pixels = load_pixels(task.dataset, task.image_size, workspace.cache)
        for number in todo if shares > 1 else track(todo, task.title, len(todo)):
            if shares > 1 and os.getppid() != parent:
                return  # nobody waits for this any more
            part = pixels[task.journal.part(number)]
            task.journal.add(number, answerer.generate(part) if task.freely else answerer.rank(part, task.augmented))


def _answerer(workspace: Workspace) -> Answerer:
    from imageclef_vqa.inference.answerer import Answerer

    return Answerer.of_run(workspace)


def _in_processes(workspace: Workspace, tasks: Sequence[Task], devices: Sequence[str]) -> None:
    context = multiprocessing.get_context("spawn")
    said = context.SimpleQueue()
    threads = max(1, environment.cores() // len(devices))
    processes = [
        context.Process(target=_work, args=(workspace, tasks, share, len(devices), device, threads, said), daemon=True)
        for share, device in enumerate(devices)
    ]
    try:
        for process in processes:
            process.start()
        with progress_display() as display:
            shown = display.add_task(
                f"predict in {len(devices)} processes",
                total=sum(task.journal.batches for task in tasks),
                completed=sum(task.journal.kept for task in tasks),
            )
            while any(process.is_alive() for process in processes) and not any(_codes(processes)):
                time.sleep(_POLL)
                display.update(shown, completed=sum(task.journal.kept for task in tasks))
        codes = _codes(processes)  # before those are ended that did not fail
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
        for process in processes:
            process.join()
    for device, code in zip(devices, codes, strict=True):
        if code:
            reason = said.get() if not said.empty() else f"it ended with {code}"
            remedy = "the same command goes on from there"
            if device == "cpu" and code == -signal.SIGKILL:
                remedy += "; if memory ran out, in one process: --devices 0"
            raise MedvqaError(f"the process on {device} failed: {reason}", remedy=remedy)


def _codes(processes: Sequence[BaseProcess]) -> list[int | None]:
    return [process.exitcode for process in processes]


def _work(
    workspace: Workspace, tasks: Sequence[Task], share: int, shares: int, device: str, threads: int, said: Any
) -> None:
    """What a process does; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["MKL_NUM_THREADS"] = str(threads)
    try:
        prepare(device, seed=0)
        _answer_share(workspace, tasks, share, shares)
    except MedvqaError as error:
        said.put(str(error))
        raise SystemExit(1) from None
