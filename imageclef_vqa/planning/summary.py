"""A plan as the numbers that `medvqa plan` prints."""

from __future__ import annotations

from typing import Any

from imageclef_vqa.planning.changes import smallest_change
from imageclef_vqa.planning.plan import make_plan
from imageclef_vqa.planning.workload import Workload


def summarise(workload: Workload, memory: float, rate: float, paper: float | None = None) -> dict[str, Any]:
    """The plan of a workload on devices of `memory` bytes that sustain `rate` operations per second.

    `paper` is how many parameters the paper gives for this preset. Memory is in bytes.
    """
    plan, change = make_plan(workload), None
    if plan.peak > memory and (found := smallest_change(workload, memory)) is not None:
        change = {"what": found[0], "peak": round(make_plan(found[1]).peak)}
    return {
        "preset": workload.preset.name,
        "stage": workload.stage,
        "parameters": {
            "total": plan.counts.total,
            "trained": plan.trained,
            "vision": plan.counts.vision,
            "qformer": plan.counts.qformer,
            "qformer_text": plan.counts.text,
            "projection": plan.counts.projection,
            "language": plan.counts.language,
            "adapters": plan.counts.adapters,
            "stage_1_heads": plan.heads,
            "paper": paper,
        },
        "memory": {part: round(size) for part, size in plan.parts.items()}
        | {"peak": round(plan.peak), "device": round(memory), "disk_features": round(plan.disk)},
        "images": workload.images,
        "devices": workload.devices,
        "rate": rate,
        "images_per_device": workload.images_per_device,
        "flops_per_step": plan.flops * workload.devices,
        "flops_per_pair": plan.flops_per_pair,
        "flops_pair_by_pair": plan.flops_pair_by_pair,
        "steps": plan.steps,
        "seconds": plan.seconds(rate),
        "fits": plan.peak <= memory,
        "change": change,
    }
