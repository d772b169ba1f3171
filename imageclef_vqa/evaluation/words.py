"""What is said of a score in sentences, and how figures are spelt; terminal, report and exports share it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.errors import shortened
from imageclef_vqa.evaluation.form import FormCost
from imageclef_vqa.evaluation.metrics import Answers
from imageclef_vqa.evaluation.scores import FoldScore, Score
from imageclef_vqa.evaluation.slices import Slice, worst_slices

if TYPE_CHECKING:
    from imageclef_vqa.evaluation.compare import Comparison, Comparisons

NONE = "–"
_EXAMPLE = 80
SYSTEMS = {"blip2": "BLIP-2 alone", "routed": "routed", "file": "exact set"}
METRICS = {
    "exact_set": "exact sets (the official measure)",
    "exact_ordered": "exact lists, order counts",
    "folded_set": "exact sets, case forgiven",
    "first_answer": "the first answer alone",
    "f1": "F1 per pair",
    "precision": "precision per pair",
    "recall": "recall per pair",
    "macro_f1": "macro-F1 over sets",
    "mcc": "Matthews' correlation",
}


def figure(value: float | None) -> str:
    """An accuracy with three decimals, or a dash."""
    return NONE if value is None else f"{value:.3f}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """`0.710–0.782`, or a dash."""
    return NONE if interval is None else f"{interval[0]:.3f}–{interval[1]:.3f}"


def points(share: float) -> str:
    """`+4.2`: a difference in points, hundredths of accuracy."""
    return f"{round(100 * share, 1) + 0.0:+.1f}".replace("-", "−")


def answers_text(answers: Answers, longest: int | None = None) -> str:
    """A list of answers for people, nothing in it that a terminal would obey, cut after `longest` characters.

    A string that would read as several answers, or as none, stands in quotation marks.
    """
    text = "; ".join(f"“{answer}”" if ";" in answer or not answer.strip() else answer for answer in answers)
    shown = "".join(sign if sign.isprintable() else "\ufffd" for sign in text[:longest])
    return shown + "…" * (len(shown) < len(text))


def form_line(score: Score) -> str:
    """What the answers' form costs, in points (hundredths of the mean of questions), the dearest faults by name."""
    if not score.form:
        return (
            "The form of the answers costs nothing: no point is lost to case, spelling or sets written as one string."
        )
    dearest = [
        f"question {cost.question_id} ({cost.reason}) {100 * cost.points / len(score.questions):.1f}"
        for cost in score.form
    ]
    listed = ", ".join(shortened(dearest, 3))
    return f"The form of the answers costs up to {100 * score.overall.form_cost:.1f} points: {listed}."


def form_cells(cost: FormCost, score: Score) -> tuple[str, str, str, str, str]:
    """One fault of form: what it is, pairs, points of the question and of the mean, and an example."""
    return (
        cost.reason,
        f"{cost.pairs:,}",
        f"{100 * cost.points:.1f}",
        f"{100 * cost.points / len(score.questions):.1f}",
        f"{answers_text(cost.given, _EXAMPLE)} ≠ {answers_text(cost.gold, _EXAMPLE)}",
    )


def coverage_lines(score: Score) -> list[str]:
    """What was missing from the answers, what they hold beyond the gold ones, and what the model had seen before."""
    lines = []
    if score.missing == 1:
        lines.append("1 gold answer has no counterpart here: it counts as wrong.")
    elif score.missing:
        lines.append(f"{score.missing:,} gold answers have no counterpart here: they count as wrong.")
    if score.extra:
        lines.append(f"{score.extra:,} of the answers given have no gold answer: ignored.")
    if lacking := [str(question.id) for question in QUESTIONS if score.question(question.id) is None]:
        lines.append(
            f"No gold answer to {_questions(lacking)}: the global figure is the mean of the other "
            f"{len(score.questions)}."
        )
    if isinstance(score, FoldScore) and score.seen:
        alone = "" if score.exact_set_unseen is None else f"; without them the score is {score.exact_set_unseen:.3f}"
        lines.append(
            f"{score.seen:,} of the {score.images:,} images are, or resemble, images that the model was trained on"
            f"{alone}."
        )
    return lines


def slices_line(score: Score) -> str:
    """The worst slices by name."""
    if not score.slices:
        return ""
    if worst := worst_slices(score.slices):
        named = "; ".join(map(_slice_text, worst))
        return f"Weakest slices, in points against the same questions over all: {named}."
    lowest = min((each for each in score.slices if each.gap_interval), key=lambda each: each.gap, default=None)
    seen = "" if lowest is None or lowest.gap >= 0 else f" Lowest, in points against them: {_slice_text(lowest)}."
    return f"No slice of the images is surely weaker than the same questions over all (95%).{seen}"


def _slice_text(each: Slice) -> str:
    spread = "" if each.gap_interval is None else f" [{points(each.gap_interval[0])}, {points(each.gap_interval[1])}]"
    return f"{each.by} {each.name} {points(each.gap)}{spread}"


def comparison_lines(all_of_them: Comparisons, comparison: Comparison) -> list[str]:
    """Who is better, where, and what was missing."""
    overall = comparison.overall
    sure = overall.interval is not None and (overall.interval[0] > 0 or overall.interval[1] < 0)
    spread = ""
    if overall.interval is not None:
        spread = f" [{points(overall.interval[0])}, {points(overall.interval[1])}]"
    verdict = "more than chance" if sure else "chance alone may explain it"
    lines = [f"B is {points(overall.difference)} points{spread} from A: {verdict}."]
    changed = [f"{each.id} ({points(each.difference)})" for each in comparison.questions if each.p_holm < 0.05]
    lines.append(
        f"Questions that differ (McNemar, p < 0.05 after Holm's correction for {len(comparison.questions)}): "
        + (", ".join(changed) or "none")
        + "."
    )
    for name, missing in (("A", all_of_them.baseline_missing), ("B", comparison.missing)):
        if missing:
            lines.append(f"{missing:,} gold answers have no counterpart in {name}: they count as wrong.")
    return lines


def _questions(ids: list[str]) -> str:
    return f"question{'s' * (len(ids) > 1)} {', '.join(ids)}"
