"""Scores and comparisons as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.evaluation.compare import Comparison, Comparisons
from imageclef_vqa.evaluation.display import (
    METRICS,
    NONE,
    accuracy_table,
    decimal,
    interval_text,
    p_text,
    points,
    points_interval,
)
from imageclef_vqa.evaluation.published import Published
from imageclef_vqa.evaluation.scores import Score
from imageclef_vqa.evaluation.summary import formatting_cells


class QuestionCell:
    """A question by id and text; in a column too narrow for the longest text, all questions by id and label."""

    _longest = max(len(question.text) for question in QUESTIONS) + 3

    def __init__(self, question_id: int) -> None:
        self.full = f"{question_id:>2} {QUESTIONS[question_id].text}"
        self.short = f"{question_id:>2} {QUESTIONS[question_id].label}"

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(len(self.short), self._longest).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[str]:
        yield self.full if options.max_width >= self._longest else self.short


def score_table(title: str, score: Score) -> Table:
    """One row per question, then the mean. A question without gold answers has dashes."""
    accuracies = accuracy_table(score)
    table = question_table(title, _score_method(score))
    add_numbers(table, "n", "")
    for name, mean in zip(accuracies.headings, accuracies.mean, strict=True):
        add_numbers(table, name, decimal(mean), style="bold" if name == accuracies.headings[-1] else None)
    add_numbers(table, "95% interval", interval_text(score.overall.interval))
    for question_id, row in accuracies.rows.items():
        own = score.question(question_id)
        numbers = (str(own.n) if own else NONE, *map(decimal, row), interval_text(own.interval if own else None))
        table.add_row(QuestionCell(question_id), *numbers)
    return table


def metrics_table(score: Score) -> Table:
    """The mean of the questions by every metric, with its interval."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 2, 0, 0), title="All metrics", title_justify="left")
    for heading in ("metric", "mean", "95% interval"):
        table.add_column(heading, justify="left" if heading == "metric" else "right", no_wrap=True)
    for name, text in METRICS.items():
        table.add_row(text, decimal(getattr(score.overall, name)), interval_text(score.overall.intervals.get(name)))
    return table


def formatting_table(score: Score) -> Table:
    """The formatting losses by question, the largest first, with an example of it below."""
    largest = score.formatting[0]
    example = f"question {largest.question_id}, for example: {formatting_cells(largest, score)[-1]}"
    table = question_table("Points lost to formatting", example, footer=False)
    table.add_column("fault", no_wrap=True)
    add_numbers(table, "points")
    add_numbers(table, "of the\nmean")
    for loss in score.formatting:
        fault, _, own, of_mean, _ = formatting_cells(loss, score)
        table.add_row(QuestionCell(loss.question_id), fault, own, of_mean)
    return table


def published_table(title: str, published: Published) -> Table:
    """Published accuracies by question."""
    table = question_table(title, "published accuracies: no intervals, because the answers are not known")
    add_numbers(table, "accuracy", f"{published.overall.exact_set:.4f}", style="bold")
    for question in published.questions:
        table.add_row(QuestionCell(question.id), f"{question.exact_set:.4f}")
    return table


def comparison_table(title: str, comparisons: Comparisons, comparison: Comparison) -> Table:
    """One system compared with the baseline, question by question; differences in points."""
    overall = comparison.overall
    table = question_table(title, _method(comparisons.images, comparisons.clusters, comparisons.resamples))
    add_numbers(table, "A", decimal(overall.baseline))
    add_numbers(table, "B", decimal(overall.exact_set))
    add_numbers(table, "B − A", points(overall.difference), style="bold")
    add_numbers(table, "95% interval", points_interval(overall.interval))
    add_numbers(table, "+/−", "")
    add_numbers(table, "p (Holm)", "")
    for question in comparison.questions:
        table.add_row(
            QuestionCell(question.id),
            decimal(question.baseline),
            decimal(question.exact_set),
            points(question.difference),
            points_interval(question.interval),
            f"{question.gained}/{question.lost}",
            p_text(question.p_holm),
        )
    return table


def question_table(title: str, caption: str = "", footer: bool = True) -> Table:
    """A table with a `QuestionCell` in the first column of each row and, in its footer, the mean of the questions."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=footer)
    table.expand = True  # in a narrow terminal the question column shrinks, the numbers do not
    table.title, table.caption = title, caption or None
    table.title_justify = table.caption_justify = "left"
    table.add_column("question", "mean of questions", ratio=1, no_wrap=True, overflow="ellipsis")
    return table


def add_numbers(table: Table, heading: str, footer: str = "", style: str | None = None) -> None:
    """Add a column of numbers, which does not shrink."""
    table.add_column(heading, footer, justify="right", no_wrap=True, style=style)


def _method(images: int, clusters: int | None, resamples: int) -> str:
    groups = f", {clusters:,} groups of near-duplicates" if clusters else ""
    return f"exact set; {images:,} images{groups}; {resamples:,} bootstrap resamples"


def _score_method(score: Score) -> str:
    return f"{_method(score.images, score.clusters, score.resamples)} for the mean, Wilson's intervals for questions"
