"""What a stage of a preset needs, by arithmetic on its sizes: parameters, memory, operations, time. No Paddle."""

from imageclef_vqa.planning.changes import smallest_change
from imageclef_vqa.planning.parameters import count_parameters, images_at_once
from imageclef_vqa.planning.plan import PARTS, Plan, make_plan
from imageclef_vqa.planning.shortage import expert_shortage_explained, shortage_explained
from imageclef_vqa.planning.summary import summarise
from imageclef_vqa.planning.workload import BatchUnit, Stage, Workload

__all__ = [
    "PARTS",
    "BatchUnit",
    "Plan",
    "Stage",
    "Workload",
    "count_parameters",
    "expert_shortage_explained",
    "images_at_once",
    "make_plan",
    "shortage_explained",
    "smallest_change",
    "summarise",
]
