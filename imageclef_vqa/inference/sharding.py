"""Answering batch by batch, on one device in this process or on several in a process each.

A batch is always answered by one process, and the batches are the same for any number of processes, so the answers do
not depend on it. Free of Paddle: a process sets its device and threads before it imports Paddle.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import numpy as np

from imageclef_vqa import environment
from imageclef_vqa.data import Dataset, Example, load_pixels
from imageclef_vqa.devices import prepare
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inference.journal import Journal
from imageclef_vqa.inference.ranked import Ranked
from imageclef_vqa.progress import progress_display, track
from imageclef_vqa.workspace import Workspace

# Starting a process takes as long as five batches of `tiny`.
_BATCHES_THAT_PAY = 8
_POLL = 0.2  # seconds


class BatchAnswerer(Protocol):
    """A model that answers: `Answerer`, or `SentenceAnswerer` for open questions."""

    def answer(
        self, pixels: np.ndarray, examples: Sequence[Example], *, free: bool, augment: bool
    ) -> list[list[Ranked]]:
        """Ranked answers [image][question] for pixels uint8 [i, h, w, 3] of `examples`."""


@dataclass(frozen=True)
class Task:
    """Images to answer by one run, and the journal for the answers."""

    title: str
    dataset: Dataset
    journal: Journal
    image_size: int
    free: bool  # unconstrained text instead of ranked answers
    augment: bool


def device_names(device: str, parts: Sequence[str]) -> tuple[str, ...]:
    """The devices named by the `parts` of `--devices`; numbers are devices of the kind of `device`.

    Without parts: `device`, or nothing for the CPU, where `processes_that_pay` finds the number of processes.
    """
    if not parts:
        return () if device == "cpu" else (device,)
    kind = device.split(":")[0]
    return tuple(part if not part.isdigit() else "cpu" if kind == "cpu" else f"{kind}:{part}" for part in parts)


def processes_that_pay(tasks: Sequence[Task], planned: float) -> int:
    """How many processes of `planned` bytes each answer all of `tasks` fastest on the CPU.

    Within a process only matrix products use all cores, so several processes are faster; they take at most half of the
    memory. Floating-point sums depend on the threads of a process, so the number must be the same when an interrupted
    call is resumed: it does not depend on what is answered already.
    """
    batches = sum(task.journal.batches for task in tasks)
    room = int(environment.machine_memory() / 2 / planned)
    return max(1, min(environment.cores(), batches // _BATCHES_THAT_PAY, room))


def answer_tasks(workspace: Workspace, tasks: Sequence[Task], devices: Sequence[str]) -> None:
    """Complete the journals of all tasks with the run of `workspace`.

    Raises:
        MedvqaError: a process failed; the answers so far are kept.
    """
    for task in tasks:
        load_pixels(task.dataset, task.image_size, workspace.cache)  # decoded once, before several processes need them
    if len(devices) == 1:
        _answer_shard(workspace, tasks, 0, 1)
    elif any(task.journal.missing for task in tasks):
        _in_processes(workspace, tasks, devices)


def _answer_shard(workspace: Workspace, tasks: Sequence[Task], shard: int, shards: int) -> None:
    """Answer every batch of this shard; the model is loaded for the first one."""
    parent, answerer = os.getppid(), None
    for task in tasks:
        todo = [number for number in task.journal.missing if number % shards == shard]
        if not todo:
            continue
        answerer = answerer or _answerer(workspace, sentences=task.dataset.open)
        pixels = load_pixels(task.dataset, task.image_size, workspace.cache)
        for number in todo if shards > 1 else track(todo, task.title, len(todo)):
            if shards > 1 and os.getppid() != parent:
                return  # the parent has ended
            part = task.journal.part(number)
            answers = answerer.answer(pixels[part], task.dataset.examples[part], free=task.free, augment=task.augment)
            task.journal.add(number, answers)


def _answerer(workspace: Workspace, *, sentences: bool) -> BatchAnswerer:
    from imageclef_vqa.inference.answerer import Answerer
    from imageclef_vqa.inference.sentences import SentenceAnswerer

    return SentenceAnswerer.of_run(workspace) if sentences else Answerer.of_run(workspace)


def _in_processes(workspace: Workspace, tasks: Sequence[Task], devices: Sequence[str]) -> None:
    context = multiprocessing.get_context("spawn")
    threads, processes = max(1, environment.cores() // len(devices)), list[BaseProcess]()
    try:
        with environment.in_no_folder() as here:
            errors = context.SimpleQueue()
            for shard, device in enumerate(devices):
                arguments = (here, workspace, tasks, shard, len(devices), device, threads, errors)
                processes.append(context.Process(target=_work, args=arguments, daemon=True))
                processes[-1].start()
        with progress_display() as display:
            shown = display.add_task(
                f"predict in {len(devices)} processes",
                total=sum(task.journal.batches for task in tasks),
                completed=sum(task.journal.kept for task in tasks),
            )
            while any(process.is_alive() for process in processes) and not any(_codes(processes)):
                time.sleep(_POLL)
                display.update(shown, completed=sum(task.journal.kept for task in tasks))
        codes = _codes(processes)  # before the others are ended
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
        for process in processes:
            process.join()
    for device, code in zip(devices, codes, strict=True):
        if code:
            reason = errors.get() if not errors.empty() else f"it ended with code {code}"
            remedy = "the same command resumes from there"
            if device == "cpu" and code == -signal.SIGKILL:
                remedy += "; if memory ran out, use one process: --devices 0"
            raise MedvqaError(f"the process on {device} failed: {reason}", remedy=remedy)


def _codes(processes: Sequence[BaseProcess]) -> list[int | None]:
    return [process.exitcode for process in processes]


def _work(
    here: str,
    workspace: Workspace,
    tasks: Sequence[Task],
    shard: int,
    shards: int,
    device: str,
    threads: int,
    errors: Any,
) -> None:
    """The main function of a process; the parent handles Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir(here)
    os.environ["MKL_NUM_THREADS"] = str(threads)
    try:
        prepare(device, seed=0)
        _answer_shard(workspace, tasks, shard, shards)
    except MedvqaError as error:
        errors.put(str(error))
        raise SystemExit(1) from None
