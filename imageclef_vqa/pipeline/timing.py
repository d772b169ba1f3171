"""How long answers to open questions took, and how much memory: for `predictions_1.json`, beside the predictions.

The file is no artefact: it says nothing about the answers, and another machine gives other numbers.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from typing import Any

from imageclef_vqa.errors import FileError
from imageclef_vqa.files import write_json
from imageclef_vqa.inputs import read_json
from imageclef_vqa.workspace import Workspace

TIMING = "timing.json"


def write_timing(workspace: Workspace, rows: Mapping[str, int], seconds: float, devices: Sequence[str]) -> None:
    """Keep the time of a call that answered `rows` of each fold, and the memory of this process and its children."""
    total = sum(rows.values()) or 1
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    model = sum(each.stat().st_size for each in workspace.stage(2).glob("*.safetensors")) / 2**20
    content = _read(workspace)
    for fold, count in rows.items():
        content[fold] = {
            "total_time": round(seconds * count / total, 4),
            "time_per_item": round(seconds / total, 6),
            "memory_used_mb": round(peak, 2),
            "model_memory_mb": round(model, 2),
            "gpu_name": next((each for each in devices if each != "cpu"), "cpu"),
        }
    write_json(workspace.run_folder / "predictions" / TIMING, content)


def read_timing(workspace: Workspace, fold: str) -> dict[str, Any]:
    """What was measured for a fold; empty where nothing was."""
    own = _read(workspace).get(fold)
    return own if isinstance(own, dict) else {}


def _read(workspace: Workspace) -> dict[str, Any]:
    try:
        content = read_json(workspace.run_folder / "predictions" / TIMING)
    except FileError:
        return {}
    return content if isinstance(content, dict) else {}
