"""Names of metrics and systems, and numbers and answers as text; shared by terminal, report, plots and exports."""

from __future__ import annotations

from imageclef_vqa.evaluation.metrics import Answers

NONE = "–"
SYSTEMS = {"blip2": "BLIP-2", "routed": "routed", "file": "exact set"}
METRICS = {
    "exact_set": "exact set (official metric)",
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
