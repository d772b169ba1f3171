"""Names of metrics and systems, and numbers and answers as text; shared by terminal, report, plots and exports."""

from __future__ import annotations

from typing import NamedTuple

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.evaluation.metrics import Answers
from imageclef_vqa.evaluation.scores import FoldScore, MetricValues, Score

NONE = "–"
SYSTEMS = {"blip2": "BLIP-2", "routed": "routed", "file": "exact set"}
BASELINES = ("majority", "classical")
METRICS = {
    "exact_set": "exact set (official in 2023)",
    "exact_ordered": "exact list, in order",
    "folded_set": "exact set, ignoring case",
    "first_answer": "first answer only",
    "f1": "F1 per pair",
    "precision": "precision per pair",
    "recall": "recall per pair",
    "macro_f1": "macro-F1 over sets",
    "mcc": "Matthews correlation",
}


def decimal(value: float | None) -> str:
    """`0.742`, or a dash."""
    return NONE if value is None else f"{value:.3f}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """`0.710–0.782`, or a dash."""
    return NONE if interval is None else f"{interval[0]:.3f}–{interval[1]:.3f}"


def points(difference: float) -> str:
    """A difference of accuracies in points, which are hundredths: `+4.2`."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}".replace("-", "−")


def points_interval(interval: tuple[float, float] | None) -> str:
    """`−1.2 to +4.2`, or a dash."""
    return NONE if interval is None else f"{points(interval[0])} to {points(interval[1])}"


def p_text(p: float) -> str:
    """A p-value with three decimals."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def answers_text(answers: Answers, longest: int | None = None) -> str:
    """A list of answers for people, without control characters, cut after `longest` characters.

    An answer that is blank or contains a semicolon is put in quotation marks.
    """
    text = "; ".join(f"“{answer}”" if ";" in answer or not answer.strip() else answer for answer in answers)
    shown = "".join(sign if sign.isprintable() else "\ufffd" for sign in text[:longest])
    return shown + "…" * (len(shown) < len(text))


class AccuracyTable(NamedTuple):
    """Exact-set accuracies under their `headings`: `rows` by question id, and the mean of the questions."""

    headings: list[str]
    rows: dict[int, list[float | None]]
    mean: list[float | None]


def accuracy_table(score: Score) -> AccuracyTable:
    """The known baselines, BLIP-2 if the answers are routed, and the answers themselves; every question has a row."""
    blip2, name = None, "file"
    if isinstance(score, FoldScore):
        blip2, name = score.blip2, score.answered_by
    baselines = [base for base in BASELINES if any(getattr(each, base) is not None for each in score.questions)]

    def accuracies(own: MetricValues | None, plain: MetricValues | None) -> list[float | None]:
        before = [getattr(own, base, None) for base in baselines]
        if blip2 is not None:
            before.append(plain.exact_set if plain else None)
        return [*before, own.exact_set if own else None]

    rows = {
        each.id: accuracies(score.question(each.id), blip2.question(each.id) if blip2 else None) for each in QUESTIONS
    }
    return AccuracyTable(
        [*baselines, *([SYSTEMS["blip2"]] if blip2 else []), SYSTEMS.get(name, name)],
        rows,
        accuracies(score.overall, blip2.overall if blip2 else None),
    )
