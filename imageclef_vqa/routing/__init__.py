"""Which model answers which question, on the evidence of held-out images; this room reads and writes no file."""

from imageclef_vqa.routing.apply import apply
from imageclef_vqa.routing.decisions import HeldOut, Policy, StoredDecisions, decide, experts_of
from imageclef_vqa.routing.table import Routed, as_json, routing_table, summary_lines

__all__ = [
    "HeldOut",
    "Policy",
    "Routed",
    "StoredDecisions",
    "apply",
    "as_json",
    "decide",
    "experts_of",
    "routing_table",
    "summary_lines",
]
