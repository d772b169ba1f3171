"""Experts beside BLIP-2, and who answers which question. No Paddle here."""

from imageclef_vqa.routing.route import PAPER_QUESTIONS, Routed, route
from imageclef_vqa.routing.table import as_json, routing_table, summary_lines
from imageclef_vqa.routing.takeover import Policy

__all__ = ["PAPER_QUESTIONS", "Policy", "Routed", "as_json", "route", "routing_table", "summary_lines"]
