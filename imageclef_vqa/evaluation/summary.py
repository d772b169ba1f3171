"""Scores and comparisons in sentences, for terminal, report and exports."""

from __future__ import annotations

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.errors import counted, shortened
from imageclef_vqa.evaluation.compare import Comparison, Comparisons
from imageclef_vqa.evaluation.display import answers_text, points
from imageclef_vqa.evaluation.estimates import Interval
from imageclef_vqa.evaluation.formatting_loss import FormattingLoss
from imageclef_vqa.evaluation.scores import FoldScore, Score
from imageclef_vqa.evaluation.slices import SIGNIFICANT, Slice, worst_slices

_EXAMPLE = 80  # characters


def overall_line(title: str, score: Score) -> str:
    """The mean with its interval, beside the baselines that are known."""
    mean = score.overall
    interval = "" if mean.interval is None else f" [{mean.interval[0]:.3f}, {mean.interval[1]:.3f}]"
    others = [
        f"{name} {value:.3f}"
        for name, value in (("the classical expert", mean.classical), ("the most frequent answers", mean.majority))
        if value is not None
    ]
    return f"{title}: {mean.exact_set:.3f}{interval}" + (f"; {', '.join(others)}." if others else ".")


def formatting_line(score: Score) -> str:
    """The points (hundredths of the mean accuracy) lost to formatting, and the largest losses."""
    if not score.formatting:
        return "No points are lost to formatting (case, spelling, or a set written as one string)."
    largest = [
        f"question {loss.question_id} ({loss.reason}) {100 * loss.points / len(score.questions):.1f}"
        for loss in score.formatting
    ]
    listed = ", ".join(shortened(largest, 3))
    return f"Up to {100 * score.overall.formatting_loss:.1f} points are lost to formatting: {listed}."


def formatting_cells(loss: FormattingLoss, score: Score) -> tuple[str, str, str, str, str]:
    """One formatting fault: reason, pairs, points of the question, points of the mean, and an example."""
    return (
        loss.reason,
        f"{loss.pairs:,}",
        f"{100 * loss.points:.1f}",
        f"{100 * loss.points / len(score.questions):.1f}",
        f"{answers_text(loss.given, _EXAMPLE)} ≠ {answers_text(loss.gold, _EXAMPLE)}",
    )


def coverage_lines(score: Score) -> list[str]:
    """Missing and extra answers, questions without gold answers, images that resemble training images, and the epoch
    that these images chose."""
    lines = _missing_lines(score.missing, "the given answers")
    if score.extra:
        lines.append(f"{counted(score.extra, 'given answer')} without a gold answer: ignored.")
    if lacking := [str(question.id) for question in QUESTIONS if score.question(question.id) is None]:
        lines.append(
            f"No gold answers to question{'s' * (len(lacking) > 1)} {', '.join(lacking)}: the score is the mean of "
            f"the other {len(score.questions)}."
        )
    if isinstance(score, FoldScore) and score.seen:
        without = "" if score.exact_set_unseen is None else f"; without them the score is {score.exact_set_unseen:.3f}"
        lines.append(f"{score.seen:,} of the {score.images:,} images are, or resemble, training images{without}.")
    if isinstance(score, FoldScore) and (choice := score.epoch_choice):
        last = "" if choice.epoch == choice.epochs else f", the last one {choice.last_exact_set:.3f}"
        lines.append(
            f"BLIP-2's epoch was chosen on these images: epoch {choice.epoch} of {choice.epochs} has "
            f"{choice.exact_set:.3f} in training's validation{last}."
        )
    return lines


def slices_line(score: Score) -> str:
    """The slices that are significantly worse after a correction for all that were compared; else the lowest one."""
    if not score.slices:
        return ""
    compared = [each for each in score.slices if each.p_holm is not None]
    test = f"p < {SIGNIFICANT:g} after Holm's correction for {len(compared)} slices"
    if worst := worst_slices(score.slices):
        named = "; ".join(map(_slice_text, worst))
        return f"Weakest slices, in points compared with the same questions over all images ({test}): {named}."
    lowest = min(compared, key=lambda each: each.gap, default=None)
    line = f"No slice is significantly worse than the same questions over all images ({test})."
    return line if lowest is None or lowest.gap >= 0 else f"{line} Lowest, in points: {_slice_text(lowest)}."


def _slice_text(each: Slice) -> str:
    return f"{each.by} {each.name} {points(each.gap)}{_brackets(each.gap_interval)}"


def comparison_lines(comparisons: Comparisons, comparison: Comparison) -> list[str]:
    """The difference of B and A overall, the questions where it is significant, and missing answers."""
    overall = comparison.overall
    significant = overall.interval is not None and (overall.interval[0] > 0 or overall.interval[1] < 0)
    changed = [f"{each.id} ({points(each.difference)})" for each in comparison.questions if each.p_holm < 0.05]
    return [
        f"B − A is {points(overall.difference)} points{_brackets(overall.interval)}: "
        f"{'significant' if significant else 'not significant'} at 95%.",
        f"Questions with a significant difference (McNemar's test, p < 0.05 after Holm's correction for "
        f"{len(comparison.questions)} questions): {', '.join(changed) or 'none'}.",
        *_missing_lines(comparisons.baseline_missing, "A"),
        *_missing_lines(comparison.missing, "B"),
    ]


def _brackets(interval: Interval | None) -> str:
    return "" if interval is None else f" [{points(interval[0])}, {points(interval[1])}]"


def _missing_lines(missing: int, answers: str) -> list[str]:
    return [f"{counted(missing, 'gold answer')} missing from {answers}: counted as wrong."] if missing else []
