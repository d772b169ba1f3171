"""Scores as a person reads them in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.evaluation.compare import Comparison, Comparisons
from imageclef_vqa.evaluation.published import Published
from imageclef_vqa.evaluation.scores import FoldScore, QuestionScore, Score
from imageclef_vqa.evaluation.words import METRICS, NONE, SYSTEMS, figure, form_cells, interval_text, points


class QuestionCell:
    """A question by number and text; in a column too narrow for the longest of them, all by number and topic."""

    _longest = max(len(question.text) for question in QUESTIONS) + 3

    def __init__(self, question_id: int) -> None:
        self.full = f"{question_id:>2} {QUESTIONS[question_id].text}"
        self.short = f"{question_id:>2} {QUESTIONS[question_id].label}"

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(len(self.short), self._longest).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[str]:
        yield self.full if options.max_width >= self._longest else self.short


def score_table(title: str, score: Score) -> Table:
    """One row per question, the mean last. A question without gold answers shows dashes."""
    fold = score if isinstance(score, FoldScore) else None
    alone = fold.blip2 if fold else None
    overall = score.overall
    table = question_table(title, _drawn(score.images, score.clusters, score.resamples))
    add_numbers(table, "n", "")
    add_numbers(table, "majority", figure(overall.majority))
    linear = any(question.linear is not None for question in score.questions)
    if linear:
        add_numbers(table, "linear", figure(overall.linear))
    if alone is not None:
        add_numbers(table, SYSTEMS["blip2"].replace(" ", "\n"), figure(alone.overall.exact_set))
    name = SYSTEMS.get(fold.answered_by, fold.answered_by).replace(" ", "\n") if fold else "exact set"
    add_numbers(table, name, figure(overall.exact_set), style="bold")
    add_numbers(table, "95% interval", interval_text(overall.interval))
    for question in QUESTIONS:
        mine = score.question(question.id)
        table.add_row(
            QuestionCell(question.id),
            str(mine.n) if mine else NONE,
            figure(mine.majority if mine else None),
            *([figure(mine.linear if mine else None)] if linear else []),
            *([figure(_exact(alone.question(question.id)))] if alone is not None else []),
            figure(_exact(mine)),
            interval_text(mine.interval if mine else None),
        )
    return table


def metrics_table(score: Score) -> Table:
    """The global figure by every metric, with its interval."""
    table = Table(
        box=SIMPLE_HEAD, padding=(0, 2, 0, 0), title="The same answers by other measures", title_justify="left"
    )
    for heading in ("measure", "mean", "95% interval"):
        table.add_column(heading, justify="left" if heading == "measure" else "right", no_wrap=True)
    for name, text in METRICS.items():
        table.add_row(text, figure(getattr(score.overall, name)), interval_text(score.overall.intervals.get(name)))
    return table


def form_table(score: Score) -> Table:
    """What the form costs, question by question, the dearest fault first, of which there is an example below."""
    dearest = score.form[0]
    example = f"question {dearest.question_id}, for example: {form_cells(dearest, score)[-1]}"
    table = question_table("What the form of the answers costs", example, footer=False)
    table.add_column("fault", no_wrap=True)
    add_numbers(table, "points")
    add_numbers(table, "of the\nmean")
    for cost in score.form:
        fault, _, own, of_mean, _ = form_cells(cost, score)
        table.add_row(QuestionCell(cost.question_id), fault, own, of_mean)
    return table


def published_table(title: str, published: Published) -> Table:
    """The accuracy of each question as somebody published it."""
    table = question_table(title, "published figures: no answers, so no intervals")
    add_numbers(table, "accuracy", f"{published.overall.exact_set:.4f}", style="bold")
    for question in published.questions:
        table.add_row(QuestionCell(question.id), f"{question.exact_set:.4f}")
    return table


def comparison_table(title: str, all_of_them: Comparisons, comparison: Comparison) -> Table:
    """One set of answers beside the baseline, question by question; differences in points."""
    overall = comparison.overall
    table = question_table(title, _drawn(all_of_them.images, all_of_them.clusters, all_of_them.resamples))
    add_numbers(table, "A", figure(overall.baseline))
    add_numbers(table, "B", figure(overall.exact_set))
    add_numbers(table, "B − A", points(overall.difference), style="bold")
    add_numbers(table, "95% interval", _points_interval(overall.interval))
    add_numbers(table, "+/−", "")
    add_numbers(table, "p (Holm)", "")
    for question in comparison.questions:
        table.add_row(
            QuestionCell(question.id),
            figure(question.baseline),
            figure(question.exact_set),
            points(question.difference),
            _points_interval(question.interval),
            f"{question.gained}/{question.lost}",
            p_text(question.p_holm),
        )
    return table


def p_text(p: float) -> str:
    """A p-value with three decimals."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _points_interval(interval: tuple[float, float] | None) -> str:
    return NONE if interval is None else f"{points(interval[0])} to {points(interval[1])}"


def question_table(title: str, caption: str = "", footer: bool = True) -> Table:
    """A table whose first column holds a `QuestionCell` in each row, and the word for their mean in its foot."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=footer)
    table.expand = True  # the questions give way where a terminal is narrow, the figures never
    table.title, table.caption = title, caption or None
    table.title_justify = table.caption_justify = "left"
    table.add_column("question", "mean of questions", ratio=1, no_wrap=True, overflow="ellipsis")
    return table


def add_numbers(table: Table, heading: str, footer: str = "", style: str | None = None) -> None:
    """A column of figures, which never give way."""
    table.add_column(heading, footer, justify="right", no_wrap=True, style=style)


def _exact(score: QuestionScore | None) -> float | None:
    return None if score is None else score.exact_set


def _drawn(images: int, clusters: int | None, resamples: int) -> str:
    drawn = f", {clusters:,} groups of near-duplicates" if clusters else ""
    return f"exact sets; {images:,} images{drawn}; {resamples:,} resamples"
