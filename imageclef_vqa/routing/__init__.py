"""Experts beside BLIP-2, and who answers which question. No Paddle here: experts that need it leave files."""

from imageclef_vqa.experts.table import LINEAR, RESNET34, answer_linear, runs_of_other_folds
from imageclef_vqa.routing.baseline import RUN as BASELINE
from imageclef_vqa.routing.baseline import baseline
from imageclef_vqa.routing.decisions import Policy
from imageclef_vqa.routing.route import PAPER_QUESTIONS, Routed, route
from imageclef_vqa.routing.table import as_json, routing_table, summary_lines

__all__ = [
    "BASELINE",
    "LINEAR",
    "PAPER_QUESTIONS",
    "RESNET34",
    "Policy",
    "Routed",
    "answer_linear",
    "as_json",
    "baseline",
    "route",
    "routing_table",
    "runs_of_other_folds",
    "summary_lines",
]
