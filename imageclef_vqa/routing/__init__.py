"""Which model answers which question, on the evidence of held-out images. This room does not import Paddle."""

from imageclef_vqa.routing.apply import apply
from imageclef_vqa.routing.baseline import RUN as BASELINE
from imageclef_vqa.routing.baseline import baseline
from imageclef_vqa.routing.decisions import Policy, StoredDecisions, experts_of, read_decisions
from imageclef_vqa.routing.route import Routed, route
from imageclef_vqa.routing.table import as_json, routing_table, summary_lines

__all__ = [
    "BASELINE",
    "Policy",
    "Routed",
    "StoredDecisions",
    "apply",
    "as_json",
    "baseline",
    "experts_of",
    "read_decisions",
    "route",
    "routing_table",
    "summary_lines",
]
