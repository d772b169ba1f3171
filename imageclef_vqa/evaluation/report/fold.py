"""The section of one fold: questions, metrics, comparison with the paper, slices, mistakes, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.evaluation.calibration import Calibration, calibrate
from imageclef_vqa.evaluation.display import (
    BASELINES,
    METRICS,
    NONE,
    accuracy_table,
    decimal,
    interval_text,
    p_text,
    points,
    points_interval,
)
from imageclef_vqa.evaluation.folds import ReportFold
from imageclef_vqa.evaluation.paper import COUNTERPARTS, PaperTable
from imageclef_vqa.evaluation.report.drawings import bar, reliability, small_reliability
from imageclef_vqa.evaluation.report.html import Column, details, paragraphs, question_html, row, table
from imageclef_vqa.evaluation.report.matrices import confusion_sections, member_sections
from imageclef_vqa.evaluation.scores import FoldScore, QuestionScore
from imageclef_vqa.evaluation.summary import coverage_lines, formatting_cells, formatting_line, slices_line

_FEWEST = 40  # answers to a question that has a calibration curve


def fold_section(fold: ReportFold) -> str:
    """All sections of a fold except the gallery."""
    score, name = fold.score, escape(fold.name)
    counterpart = COUNTERPARTS.get(fold.name)
    parts = [
        f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{escape(fold.heading)}</h2>',
        f'<p class="lead">{escape(formatting_line(score))}</p>',
        paragraphs(coverage_lines(score)),
        _formatting(score),
        _questions(fold),
        _metrics(score),
        _paper(score, counterpart) if counterpart else "",
        _slices(score),
        confusion_sections(fold.given, fold.gold),
        member_sections(fold.given, fold.gold),
        _calibration(fold),
        "</section>",
    ]
    return "".join(parts)


def _formatting(score: FoldScore) -> str:
    if not score.formatting:
        return ""
    columns: list[Column] = [("question", "text"), ("pairs", "wide"), ("points", "number"), ("of the mean", "number")]
    rows = []
    for loss in score.formatting:
        fault, pairs, own, of_mean, example = formatting_cells(loss, score)
        about = f'<br><span class="soft">{escape(fault)}, for example {escape(example)}</span>'
        rows.append(row(columns, question_html(loss.question_id) + about, [pairs, own, of_mean]))
    return table("Points lost to formatting, at most, by question and of the mean (given ≠ gold).", columns, rows)


def _questions(fold: ReportFold) -> str:
    score, accuracies = fold.score, accuracy_table(fold.score)
    columns: list[Column] = [("question", "text"), ("n", "wide")]
    columns += [(name, "wide" if name in BASELINES else "number") for name in accuracies.headings]
    columns.append(("95% interval", "wide"))

    def cells(n: str, values: Sequence[float | None], interval: tuple[float, float] | None) -> list[str]:
        *before, last = map(decimal, values)
        return [n, *before, f"<b>{last}</b>", interval_text(interval)]

    rows = []
    for question_id, values in accuracies.rows.items():
        own = score.question(question_id)
        head = f"{question_html(question_id)}{bar(own) if own else ''}"
        rows.append(row(columns, head, cells(str(own.n) if own else NONE, values, own.interval if own else None)))
    foot = row(columns, "mean of questions", cells("", accuracies.mean, score.overall.interval))
    caption = (
        "Accuracy per question. The upper bar is the score with its 95% interval, the lower one the majority answer."
    )
    return table(caption, columns, rows, foot)


def _metrics(score: FoldScore) -> str:
    columns: list[Column] = [("metric", "text"), ("mean of questions", "number"), ("95% interval", "number")]
    overall = score.overall
    rows = [
        row(columns, escape(text), [decimal(getattr(overall, name)), interval_text(overall.intervals.get(name))])
        for name, text in METRICS.items()
    ]
    by_question: list[Column] = [
        ("question", "text"),
        *((name.partition(" (")[0], "number") for name in METRICS.values()),
    ]
    question_rows = [
        row(by_question, question_html(question.id), [_with_interval(question, name) for name in METRICS])
        for question in score.questions
    ]
    return (
        "<h3>All metrics</h3>"
        + table("The mean of the questions by every metric.", columns, rows)
        + details(
            "Every metric by question",
            "with 95% intervals",
            table("Every metric by question, with 95% intervals.", by_question, question_rows),
        )
    )


def _with_interval(question: QuestionScore, name: str) -> str:
    interval = question.intervals.get(name)
    below = f'<br><span class="soft">{interval_text(interval)}</span>' if interval else ""
    return f"{decimal(getattr(question, name))}{below}"


def _paper(score: FoldScore, paper: PaperTable) -> str:
    columns: list[Column] = [("question", "text"), (f"paper, {paper.name}", "number"), ("this run", "number")]
    columns.append(("difference, points", "number"))
    rows = []
    for question in QUESTIONS:
        theirs, own = paper.accuracy[question.id], score.question(question.id)
        difference = NONE if own is None else points(own.exact_set - theirs)
        rows.append(
            row(
                columns,
                question_html(question.id),
                [decimal(theirs), decimal(own.exact_set if own else None), difference],
            )
        )
    foot = row(columns, "global", [f"{paper.overall:.4f}", decimal(score.overall.exact_set), ""])
    caption = (
        f"{paper.name} of the paper ({paper.about}) and this run. The images differ, so compare the pattern and not "
        "single values."
    )
    return f"<h3>Comparison with the paper</h3>{table(caption, columns, rows, foot)}"


def _slices(score: FoldScore) -> str:
    if not score.slices:
        return ""
    columns: list[Column] = [("slice", "text"), ("images", "wide"), ("exact set", "number"), ("95% interval", "wide")]
    columns += [("gap, points", "number"), ("95% interval of the gap", "wide"), ("p (Holm)", "number")]
    rows = []
    for each in score.slices:
        name = f"{escape(each.by)}: {escape(each.name)}"
        cells = [f"{each.images:,}", decimal(each.exact_set), interval_text(each.interval), points(each.gap)]
        cells += [points_interval(each.gap_interval), NONE if each.p_holm is None else p_text(each.p_holm)]
        rows.append(row(columns, f"<b>{name}</b>" if each.significantly_worse else name, cells))
    caption = (
        "Slices of the images and their gap to the same questions over all images; worse ones with p < 0.05 after "
        "Holm's correction for all slices are bold."
    )
    return f"<h3>Slices</h3>{paragraphs([slices_line(score)])}{table(caption, columns, rows)}"


def _calibration(fold: ReportFold) -> str:
    whole = calibrate(fold.given, fold.gold, fold.probabilities, fold.groups)
    if whole is None:
        return ""
    columns: list[Column] = [(name, "number") for name in ("probability", "accuracy", "95% interval", "answers")]
    rows = [
        row(
            columns, f"{each.confidence:.3f}", [decimal(each.accuracy), interval_text(each.interval), f"{each.pairs:,}"]
        )
        for each in whole.bins
    ]
    picture = reliability(whole, "Calibration: accuracy against probability; values in the table below")
    return (
        "<h3>Calibration</h3>"
        f"<p>Expected calibration error: {whole.error:.3f}. Answers are right {_tendency(whole)} often than their "
        "probability says; on the dashed line, both are equal.</p>"
        f"<figure>{picture}</figure>"
        + details("The curve as a table", f"{len(whole.bins)} bins", table("Calibration.", columns, rows))
        + details("Calibration by question", "same axes", _small_curves(fold))
    )


def _tendency(calibration: Calibration) -> str:
    gap = sum(each.pairs * (each.accuracy - each.confidence) for each in calibration.bins)
    return "more" if gap > 0 else "less"


def _small_curves(fold: ReportFold) -> str:
    curves = []
    for question in QUESTIONS:
        gold = {pair: answers for pair, answers in fold.gold.items() if pair[1] == question.id}
        if len(gold) < _FEWEST:
            continue
        found = calibrate(fold.given, gold, fold.probabilities, fold.groups, bins=5, resamples=0)
        if found is not None:
            caption = f'{question_html(question.id)} <span class="soft">error {found.error:.3f}</span>'
            curves.append(f"<li>{small_reliability(found)}<span>{caption}</span></li>")
    return f'<ul class="curves">{"".join(curves)}</ul>' if curves else "<p>No question has enough answers.</p>"
