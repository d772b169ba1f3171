"""`medvqa plan`: what a stage of a preset needs, by arithmetic on its sizes. No Paddle."""

from imageclef_vqa.planning.plan import PARTS, Plan, Setting, make_plan, smallest_change
from imageclef_vqa.planning.shortage import expert_shortage_explained, shortage_explained

__all__ = [
    "PARTS",
    "Plan",
    "Setting",
    "expert_shortage_explained",
    "make_plan",
    "shortage_explained",
    "smallest_change",
]
