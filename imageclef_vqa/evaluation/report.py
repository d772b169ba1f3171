"""The report: one HTML file without scripts that needs nothing else, from scores and answers.

Everything that came from a file is escaped, and the page's own content policy forbids it to load anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from imageclef_vqa.evaluation.metrics import Answers, PairAnswers
from imageclef_vqa.evaluation.mistakes import frequent_confusions, surest_mistakes
from imageclef_vqa.evaluation.paper import COUNTERPARTS, PaperTable
from imageclef_vqa.evaluation.report_style import STYLE
from imageclef_vqa.evaluation.scores import FoldScore, QuestionScore
from imageclef_vqa.evaluation.words import NONE, SYSTEMS, coverage_lines, figure, form_line, interval_text
from imageclef_vqa.task import QUESTIONS

_FOLDS = {"val": "Validation images", "test": "Test images"}


@dataclass(frozen=True)
class ReportFold:
    """One fold with its score, the answers that were scored and, where known, their probabilities."""

    name: str
    score: FoldScore
    given: PairAnswers
    gold: PairAnswers
    probabilities: Mapping[tuple[str, int], float] = field(default_factory=dict)
    images: Mapping[str, Path] = field(default_factory=dict)
    records: Mapping[str, int] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        return _FOLDS.get(self.name, self.name)


def render_report(run: str, folds: Sequence[ReportFold]) -> str:
    """The whole page."""
    title = f"MEDVQA-GI: run {run}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="soft">A pair of image and question is right if the answers are one set of exact strings. The global figure is
the plain mean of the questions that have gold answers.</p>
<ul class="tiles">{"".join(map(_tile, folds))}</ul>
</header>
<main>
{"".join(map(_fold, folds))}
</main>
<footer><p>Intervals hold 95% of {folds[0].score.resamples:,} bootstrap resamples, in which near-duplicate images are
drawn together. Accuracy is that of images the model never learnt from.</p></footer>
</body>
</html>
"""


def _tile(fold: ReportFold) -> str:
    overall, alone = fold.score.overall, fold.score.blip2
    beside = [f"majority answer {figure(overall.majority)}"]
    if alone is not None:
        beside.insert(0, f"{SYSTEMS['blip2']} {figure(alone.overall.exact_set)}")
    return (
        f'<li class="tile"><a href="#{escape(fold.name)}">{escape(fold.heading)}</a>, {_system(fold.score)}'
        f"<strong>{figure(overall.exact_set)}</strong>"
        f"95% interval {interval_text(overall.interval)}<br>"
        f'<span class="soft">{"; ".join(beside)}; {fold.score.images:,} images</span></li>'
    )


def _system(score: FoldScore) -> str:
    return escape(SYSTEMS.get(score.answered_by, score.answered_by))


def _fold(fold: ReportFold) -> str:
    said = "".join(f"<p>{escape(line)}</p>" for line in (form_line(fold.score), *coverage_lines(fold.score)))
    counterpart = COUNTERPARTS.get(fold.name)
    return (
        f'<section id="{escape(fold.name)}"><h2>{escape(fold.heading)}</h2>{said}'
        f"{_questions(fold.score)}{_paper(fold.score, counterpart) if counterpart else ''}"
        f"{_confusions(fold)}{_surest(fold)}</section>"
    )


def _questions(score: FoldScore) -> str:
    head = ["question", "n", "majority", *([SYSTEMS["blip2"]] if score.blip2 else []), _system(score), "95% interval"]
    wide = {"n", "95% interval"}
    rows = []
    for question in QUESTIONS:
        mine = score.question(question.id)
        alone = [_figure_of(score.blip2.question(question.id))] if score.blip2 else []
        cells = [
            (str(mine.n) if mine else NONE, True),
            (figure(mine.majority if mine else None), False),
            *((text, False) for text in alone),
            (_figure_of(mine), False),
            (interval_text(mine.interval if mine else None), True),
        ]
        rows.append(_row(f"{question.id}. {escape(question.text)}{_bar(mine) if mine else ''}", cells))
    overall = score.overall
    foot = [
        ("", True),
        (figure(overall.majority), False),
        *([(figure(score.blip2.overall.exact_set), False)] if score.blip2 else []),
        (figure(overall.exact_set), False),
        (interval_text(overall.interval), True),
    ]
    return _table(
        "Accuracy per question. Bars: the score above, the majority answer below; the line is the 95% interval.",
        [(name, name in wide) for name in head],
        rows,
        _row("mean of questions", foot),
    )


def _paper(score: FoldScore, paper: PaperTable) -> str:
    rows = [
        _row(
            f"{question.id}. {escape(question.text)}",
            [(figure(paper.accuracy[question.id]), False), (_figure_of(score.question(question.id)), False)],
        )
        for question in QUESTIONS
    ]
    foot = _row("global", [(f"{paper.overall:.4f}", False), (figure(score.overall.exact_set), False)])
    caption = f"{paper.name} of the paper ({paper.about}) beside this run. Other images, so only the pattern compares."
    head = [("question", False), (f"paper, {paper.name}", False), ("this run", False)]
    return f"<h3>Beside the paper</h3>{_table(caption, head, rows, foot)}"


def _confusions(fold: ReportFold) -> str:
    blocks = []
    for question_id, confusions in frequent_confusions(fold.given, fold.gold).items():
        wrong = fold.score.question(question_id)
        rows = [
            f'<tr><td class="text">{_answers(each.gold)}</td><td class="text given">{_answers(each.given)}</td>'
            f'<td class="number">{each.count}</td></tr>'
            for each in confusions
        ]
        count = round((1 - wrong.exact_set) * wrong.n) if wrong else 0
        blocks.append(
            f"<details><summary>{question_id}. {escape(QUESTIONS[question_id].text)} "
            f'<span class="soft">{count} wrong</span></summary>'
            + _table(
                f"The most frequent mistakes in question {question_id}.",
                [("gold", False), ("given", False), ("images", False)],
                rows,
                words=2,
            )
            + "</details>"
        )
    return f"<h3>What is confused with what</h3>{''.join(blocks) or '<p>Nothing: every answer is right.</p>'}"


def _surest(fold: ReportFold) -> str:
    mistakes = surest_mistakes(fold.given, fold.gold, fold.probabilities)
    if not mistakes:
        return ""
    rows = [
        f'<tr><td class="text"><code>{escape(each.image_id)}</code></td>'
        f'<td class="text">{escape(QUESTIONS[each.question_id].text)}</td>'
        f'<td class="text">{_answers(each.gold)}</td><td class="text given">{_answers(each.given)}</td>'
        f'<td class="number">{each.probability:.2f}</td></tr>'
        for each in mistakes
    ]
    head = [(name, False) for name in ("image", "question", "gold", "given", "probability")]
    table = _table("Wrong answers that were given with the highest probability, one per image.", head, rows, words=4)
    return f"<h3>The surest mistakes</h3>{table}"


def _table(
    caption: str, head: Sequence[tuple[str, bool]], rows: Iterable[str], foot: str | None = None, words: int = 1
) -> str:
    """A table whose first `words` columns are text; a True beside a column's name leaves it out on narrow screens."""
    names = "".join(
        f'<th scope="col" class="{_cell_class(wide, numeric=place >= words)}">{escape(name)}</th>'
        for place, (name, wide) in enumerate(head)
    )
    end = f"<tfoot>{foot}</tfoot>" if foot else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{names}</tr></thead><tbody>{''.join(rows)}</tbody>{end}"
        "</table></div>"
    )


def _row(name: str, cells: Sequence[tuple[str, bool]]) -> str:
    values = "".join(f'<td class="{_cell_class(wide, numeric=True)}">{text}</td>' for text, wide in cells)
    return f'<tr><th scope="row">{name}</th>{values}</tr>'


def _cell_class(wide: bool, *, numeric: bool) -> str:
    return ("number" if numeric else "text") + (" wide" if wide else "")


def _figure_of(score: QuestionScore | None) -> str:
    return figure(None if score is None else score.exact_set)


def _answers(answers: Answers) -> str:
    return escape("; ".join(answers)) or "no answer"


def _bar(score: QuestionScore) -> str:
    """The score over the majority answer, 0 to 1 on 100 units, with the interval as a line. The cells say the same."""
    base = "" if score.majority is None else f'<rect class="base" y="7" height="3" width="{100 * score.majority:.1f}"/>'
    spread = ""
    if score.interval is not None:
        low, high = (100 * bound for bound in score.interval)
        spread = (
            f'<line class="range" x1="{low:.1f}" x2="{high:.1f}" y1="3" y2="3" vector-effect="non-scaling-stroke"/>'
        )
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="6"/>'
        f'<rect class="mine" height="6" width="{100 * score.exact_set:.1f}"/>{base}{spread}</svg>'
    )
