"""Scores with their uncertainty, comparisons, and the report. Reads answers, not images or models."""

from imageclef_vqa.evaluation.compare import Comparisons, compare_answers
from imageclef_vqa.evaluation.export import as_csv, as_markdown
from imageclef_vqa.evaluation.folds import ReportFold
from imageclef_vqa.evaluation.paper import Model
from imageclef_vqa.evaluation.plots import draw_plots
from imageclef_vqa.evaluation.published import Published, published_file, read_published
from imageclef_vqa.evaluation.report import render_report
from imageclef_vqa.evaluation.scores import EpochChoice, FoldScore, Score, global_accuracy, score_answers, score_fold
from imageclef_vqa.evaluation.summary import (
    comparison_lines,
    coverage_lines,
    formatting_line,
    overall_line,
    slices_line,
)

__all__ = [
    "Comparisons",
    "EpochChoice",
    "FoldScore",
    "Model",
    "Published",
    "ReportFold",
    "Score",
    "as_csv",
    "as_markdown",
    "compare_answers",
    "comparison_lines",
    "coverage_lines",
    "draw_plots",
    "formatting_line",
    "global_accuracy",
    "overall_line",
    "published_file",
    "read_published",
    "render_report",
    "score_answers",
    "score_fold",
    "slices_line",
]
