"""Checks of the processor, the disk, and the data set if there is one."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from imageclef_vqa.doctor.check import Check
from imageclef_vqa.environment import cores, set_environment
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.workspace import Workspace

_TO_RUN = 1 << 30  # bytes: cached pixels, a `tiny` run and its reports
_TO_TRAIN = 20 << 30  # bytes: a full-size preset's run stores its vision part twice, the last and the best


def check_processor() -> Check:
    """The processor, and the settings of Paddle's matrix library for it."""
    set_environment()
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    threads, allowed = cores(), len(os.sched_getaffinity(0))
    path = "MKL's fast path on AMD" if os.environ.get("MKL_DEBUG_CPU_TYPE") == "5" else "MKL's own path"
    found = f"{model.group(1) if model else 'unknown'}, {threads} of {allowed} threads, {path}"
    if threads < allowed:
        return Check("processor", "note", found, f"MKL_NUM_THREADS={threads} leaves {allowed - threads} threads unused")
    return Check("processor", "good", found, figures={"threads": threads})


def check_disk(workspace: Workspace) -> Check:
    """Free space for the cache and for runs."""
    folder = next(each for each in (workspace.root.resolve(), *workspace.root.resolve().parents) if each.exists())
    free = shutil.disk_usage(folder).free
    found, figures = f"{free / 2**30:.1f} GB free in {folder}", {"free_bytes": free}
    if free < _TO_RUN:
        return Check("disk", "stop", found, "a run needs at least 1 GB", figures)
    if free < _TO_TRAIN:
        return Check("disk", "note", found, "enough for `tiny`; a full-size preset needs about 20 GB", figures)
    return Check("disk", "good", found, figures=figures)


def check_data(workspace: Workspace) -> Check:
    """The development set, read as all commands read it."""
    if not workspace.development.exists():
        return Check("data", "note", f"none in {workspace.development}", "the README says where the data go")
    from imageclef_vqa.data import read_dataset

    try:
        dataset = read_dataset(workspace.development, cache=workspace.cache)
    except MedvqaError as error:
        command = workspace.typed("medvqa split", run=False)
        return Check("data", "stop", error.what.splitlines()[0], f"`{command}` lists all problems")
    test = "with" if workspace.has_test else "no"
    return Check("data", "good", f"{len(dataset)} development images, {test} test images")
