"""The report: one HTML file that needs nothing else. Everything that came from a file is escaped."""

from imageclef_vqa.evaluation.report.page import render_report

__all__ = ["render_report"]
