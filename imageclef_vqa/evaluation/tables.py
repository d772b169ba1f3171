"""Scores as a person reads them in a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from imageclef_vqa.evaluation.scores import FoldScore, QuestionScore, Score
from imageclef_vqa.task import QUESTIONS

NONE = "–"
SYSTEMS = {"blip2": "BLIP-2 alone", "routed": "routed"}


def figure(value: float | None) -> str:
    """An accuracy with three decimals, or a dash."""
    return NONE if value is None else f"{value:.3f}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """`0.710–0.782`, or a dash."""
    return NONE if interval is None else f"{interval[0]:.3f}–{interval[1]:.3f}"


def form_line(score: Score) -> str:
    """What the answers' form costs, in points (hundredths of the mean of questions), the dearest faults by name."""
    if not score.form:
        return (
            "The form of the answers costs nothing: no point is lost to case, spelling or sets written as one string."
        )
    dearest = [
        f"question {cost.question_id} ({cost.reason}) {100 * cost.points / len(score.questions):.1f}"
        for cost in score.form[:3]
    ]
    more = f", and {len(score.form) - 3} more" if len(score.form) > 3 else ""
    return (
        f"The form of the answers costs up to {100 * score.overall.form_cost:.1f} points: {', '.join(dearest)}{more}."
    )


def coverage_lines(score: Score) -> list[str]:
    """What was missing from the answers, and what they hold beyond the gold ones."""
    lines = []
    if score.missing == 1:
        lines.append("1 gold answer has no counterpart here: it counts as wrong.")
    elif score.missing:
        lines.append(f"{score.missing:,} gold answers have no counterpart here: they count as wrong.")
    if score.extra:
        lines.append(f"{score.extra:,} of the answers given have no gold answer: ignored.")
    return lines


def score_table(title: str, score: Score) -> Table:
    """One row per question, the mean last. A question without gold answers shows dashes."""
    fold = score if isinstance(score, FoldScore) else None
    alone = fold.blip2 if fold else None
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=True, title_justify="left", caption_justify="left")
    table.expand = True  # the questions give way where a terminal is narrow, the figures never
    table.title, table.caption = title, _caption(score)
    overall = score.overall
    table.add_column("question", "mean of questions", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("majority", figure(overall.majority), justify="right", no_wrap=True)
    if alone is not None:
        table.add_column(
            SYSTEMS["blip2"].replace(" ", "\n"), figure(alone.overall.exact_set), justify="right", no_wrap=True
        )
    name = SYSTEMS.get(fold.answered_by, fold.answered_by).replace(" ", "\n") if fold else "exact set"
    table.add_column(name, figure(overall.exact_set), justify="right", style="bold", no_wrap=True)
    table.add_column("95% interval", interval_text(overall.interval), justify="right", no_wrap=True)
    for question in QUESTIONS:
        mine = score.question(question.id)
        theirs = [figure(_exact(alone.question(question.id)))] if alone is not None else []
        table.add_row(
            f"{question.id:>2} {question.text}",
            str(mine.n) if mine else NONE,
            figure(mine.majority if mine else None),
            *theirs,
            figure(_exact(mine)),
            interval_text(mine.interval if mine else None),
        )
    return table


def _exact(score: QuestionScore | None) -> float | None:
    return None if score is None else score.exact_set


def _caption(score: Score) -> str:
    drawn = f", {score.clusters:,} groups of near-duplicates" if score.clusters else ""
    return f"exact sets; {score.images:,} images{drawn}; {score.resamples:,} bootstrap resamples"
