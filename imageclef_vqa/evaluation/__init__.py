"""Scores, their uncertainty, and the report. Knows answers and questions; reads no images and no models."""

from imageclef_vqa.evaluation.report import ReportFold, render_report
from imageclef_vqa.evaluation.scores import FoldScore, Score, score_answers, score_fold
from imageclef_vqa.evaluation.tables import coverage_lines, form_line, score_table

__all__ = [
    "FoldScore",
    "ReportFold",
    "Score",
    "coverage_lines",
    "form_line",
    "render_report",
    "score_answers",
    "score_fold",
    "score_table",
]
