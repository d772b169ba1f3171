"""Which model answers which question, on the evidence of held-out images. This room does not import Paddle."""

from imageclef_vqa.routing.baseline import RUN as BASELINE
from imageclef_vqa.routing.baseline import baseline
from imageclef_vqa.routing.decisions import Policy
from imageclef_vqa.routing.route import PAPER_QUESTIONS, Routed, route
from imageclef_vqa.routing.table import as_json, routing_table, summary_lines

__all__ = [
    "BASELINE",
    "PAPER_QUESTIONS",
    "Policy",
    "Routed",
    "as_json",
    "baseline",
    "route",
    "routing_table",
    "summary_lines",
]
