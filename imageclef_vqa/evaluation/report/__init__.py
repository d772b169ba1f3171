"""The report: one self-contained HTML file. All text from files is escaped."""

from imageclef_vqa.evaluation.report.page import render_report

__all__ = ["render_report"]
