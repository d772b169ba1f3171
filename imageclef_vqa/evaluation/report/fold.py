"""The sections of one fold: questions, the paper beside it, slices, mistakes, calibration."""

from __future__ import annotations

from html import escape

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.evaluation.calibration import Calibration, calibrate
from imageclef_vqa.evaluation.folds import ReportFold
from imageclef_vqa.evaluation.paper import COUNTERPARTS, PaperTable
from imageclef_vqa.evaluation.report.drawings import bar, reliability, small_reliability
from imageclef_vqa.evaluation.report.html import Column, details, numbered, paragraphs, row, table
from imageclef_vqa.evaluation.report.matrices import confusion_sections, member_sections
from imageclef_vqa.evaluation.scores import FoldScore, QuestionScore
from imageclef_vqa.evaluation.words import (
    METRICS,
    NONE,
    SYSTEMS,
    coverage_lines,
    figure,
    form_cells,
    form_line,
    interval_text,
    points,
    slices_line,
)

_FEWEST = 40  # answers to a question, for a curve of its own


def fold_section(fold: ReportFold) -> str:
    """All there is to say of one fold but its gallery."""
    score, name = fold.score, escape(fold.name)
    counterpart = COUNTERPARTS.get(fold.name)
    parts = [
        f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{escape(fold.heading)}</h2>',
        f'<p class="lead">{escape(form_line(score))}</p>',
        paragraphs(coverage_lines(score)),
        _form(score),
        _questions(fold),
        _measures(score),
        _paper(score, counterpart) if counterpart else "",
        _slices(score),
        "<h3>What is taken for what</h3>",
        confusion_sections(fold.given, fold.gold),
        member_sections(fold.given, fold.gold),
        _calibration(fold),
        "</section>",
    ]
    return "".join(parts)


def _form(score: FoldScore) -> str:
    if not score.form:
        return ""
    columns: list[Column] = [("question", "text"), ("pairs", "wide"), ("points", "number"), ("of the mean", "number")]
    rows = []
    for cost in score.form:
        fault, pairs, own, of_mean, example = form_cells(cost, score)
        about = f'<br><span class="soft">{escape(fault)}, for example {escape(example)}</span>'
        rows.append(row(columns, numbered(cost.question_id) + about, [pairs, own, of_mean]))
    caption = "Points that each question, and the mean, lose at most to how answers are written (given ≠ gold)."
    return table(caption, columns, rows)


def _questions(fold: ReportFold) -> str:
    score = fold.score
    linear = any(question.linear is not None for question in score.questions)
    columns: list[Column] = [("question", "text"), ("n", "wide"), ("majority", "number")]
    columns += [("linear", "number")] * linear + [(SYSTEMS["blip2"], "number")] * (score.blip2 is not None)
    columns += [(fold.system, "number"), ("95% interval", "wide")]

    def cells(n: str, mine: object, alone: object) -> list[str]:
        return [
            n,
            figure(getattr(mine, "majority", None)),
            *([figure(getattr(mine, "linear", None))] * linear),
            *([figure(getattr(alone, "exact_set", None))] * (score.blip2 is not None)),
            f"<b>{figure(getattr(mine, 'exact_set', None))}</b>",
            interval_text(getattr(mine, "interval", None)),
        ]

    rows = []
    for question in QUESTIONS:
        mine = score.question(question.id)
        alone = score.blip2.question(question.id) if score.blip2 else None
        head = f"{numbered(question.id)}{bar(mine) if mine else ''}"
        rows.append(row(columns, head, cells(str(mine.n) if mine else NONE, mine, alone)))
    foot = row(columns, "mean of questions", cells("", score.overall, score.blip2.overall if score.blip2 else None))
    caption = "Accuracy per question. Bars: the score above, the majority answer below; the line is the 95% interval."
    return table(caption, columns, rows, foot)


def _measures(score: FoldScore) -> str:
    columns: list[Column] = [("measure", "text"), ("mean of questions", "number"), ("95% interval", "number")]
    overall = score.overall
    rows = [
        row(columns, escape(text), [figure(getattr(overall, name)), interval_text(overall.intervals.get(name))])
        for name, text in METRICS.items()
    ]
    wide: list[Column] = [("question", "text"), *((name.replace("_", " "), "number") for name in METRICS)]
    each = [
        row(wide, numbered(question.id), [_with_interval(question, name) for name in METRICS])
        for question in score.questions
    ]
    return (
        "<h3>By other measures</h3>"
        + table("The global figure by every measure; the first is the official one as far as known.", columns, rows)
        + details("Every measure of every question", "with 95% intervals", table("All measures.", wide, each))
    )


def _with_interval(question: QuestionScore, name: str) -> str:
    interval = question.intervals.get(name)
    beside = f'<br><span class="soft">{interval_text(interval)}</span>' if interval else ""
    return f"{figure(getattr(question, name))}{beside}"


def _paper(score: FoldScore, paper: PaperTable) -> str:
    columns: list[Column] = [("question", "text"), (f"paper, {paper.name}", "number"), ("this run", "number")]
    columns.append(("difference, points", "number"))
    rows = []
    for question in QUESTIONS:
        theirs, mine = paper.accuracy[question.id], score.question(question.id)
        gap = NONE if mine is None else points(mine.exact_set - theirs)
        rows.append(
            row(columns, numbered(question.id), [figure(theirs), figure(mine.exact_set if mine else None), gap])
        )
    foot = row(columns, "global", [f"{paper.overall:.4f}", figure(score.overall.exact_set), ""])
    caption = f"{paper.name} of the paper ({paper.about}) beside this run. Other images, so only the pattern compares."
    return f"<h3>Beside the paper</h3>{table(caption, columns, rows, foot)}"


def _slices(score: FoldScore) -> str:
    if not score.slices:
        return ""
    columns: list[Column] = [("slice", "text"), ("images", "wide"), ("exact sets", "number"), ("95% interval", "wide")]
    columns += [("gap, points", "number"), ("95% interval of the gap", "wide")]
    rows = []
    for each in score.slices:
        gap = NONE
        if each.gap_interval is not None:
            gap = f"{points(each.gap_interval[0])} to {points(each.gap_interval[1])}"
        name = f"{escape(each.by)}: {escape(each.name)}"
        cells = [f"{each.images:,}", figure(each.exact_set), interval_text(each.interval), points(each.gap), gap]
        rows.append(row(columns, f"<b>{name}</b>" if each.surely_worse else name, cells))
    caption = "Parts of the images beside the same questions over all of them; bold is surely weaker (95%)."
    return f"<h3>Where it is weak</h3>{paragraphs([slices_line(score)])}{table(caption, columns, rows)}"


def _calibration(fold: ReportFold) -> str:
    whole = calibrate(fold.given, fold.gold, fold.probabilities, fold.groups)
    if whole is None:
        return ""
    columns: list[Column] = [("probability", "number"), ("right", "number"), ("95% interval", "number")]
    columns.append(("answers", "number"))
    rows = [
        row(columns, f"{each.confidence:.3f}", [figure(each.accuracy), interval_text(each.interval), f"{each.pairs:,}"])
        for each in whole.bins
    ]
    picture = reliability(whole, "Calibration: share of right answers against probability; figures below")
    return (
        "<h3>How far to believe its probabilities</h3>"
        f"<p>Expected calibration error {whole.error:.3f}: answers are right {_too_sure(whole)} often than their "
        "probability says. On the dashed line both would be equal.</p>"
        f"<figure>{picture}</figure>"
        + details("The curve in figures", f"{len(whole.bins)} bins", table("Calibration.", columns, rows))
        + details("By question", "curves as above", _small_curves(fold))
    )


def _too_sure(calibration: Calibration) -> str:
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
            about = f'{numbered(question.id)} <span class="soft">error {found.error:.3f}</span>'
            curves.append(f"<li>{small_reliability(found)}<span>{about}</span></li>")
    return f'<ul class="curves">{"".join(curves)}</ul>' if curves else "<p>No question has enough answers.</p>"
