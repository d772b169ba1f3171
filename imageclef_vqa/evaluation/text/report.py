"""The report page of open questions: metrics, classes, facts, and the gallery of answers, the worst first.

Like the page of closed questions, it contains everything that it shows, and its policy forbids it to load anything.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from imageclef_vqa.evaluation.display import NONE, decimal, interval_text
from imageclef_vqa.evaluation.folds import SmallMap
from imageclef_vqa.evaluation.report.gallery import image_name
from imageclef_vqa.evaluation.report.html import Column, details, paragraphs, row, table
from imageclef_vqa.evaluation.report.page import frame
from imageclef_vqa.evaluation.text.display import TITLES, four, text_lines
from imageclef_vqa.evaluation.text.folds import TextFold
from imageclef_vqa.evaluation.text.metrics import TEXT_METRICS, sentence
from imageclef_vqa.evaluation.text.scores import TextMetrics, TextScore

_SHOWN = 300  # rows of a fold in the gallery
_METEOR, _ROUGE_L = 13, 12  # columns of a measured pair
_HEAT_MAP = (
    '<details class="heat"><summary>heat map</summary>'
    '<span class="soft">over the image, highest at {place}</span></details>'
)


def render_text_report(run: str, folds: Sequence[TextFold], *, thumbnails: Mapping[str, bytes] | None = None) -> str:
    """The report as one HTML file; `thumbnails` are small JPEGs without metadata, by image id."""
    pictures = thumbnails or {}
    lead = (
        "Answers are sentences. BLEU is that of the whole fold, ROUGE and METEOR are means over the rows, and exact "
        "match forgives case and outer blanks. Facts are the numbers, places, colours and findings that gold and "
        "answer name."
    )
    body = "".join(map(_section, folds)) + "".join(_gallery(fold, pictures) for fold in folds)
    links = [(fold.name, fold.heading) for fold in folds]
    links += [(f"{fold.name}-gallery", f"{fold.heading}: answers") for fold in folds]
    foot = (
        f"Intervals are 95%, from {folds[0].score.resamples:,} bootstrap resamples of groups of near-duplicate images. "
        "This page loads nothing from elsewhere. Thumbnails contain no metadata."
    )
    return frame(f"MEDVQA-GI: run {run}", lead, "".join(map(_tile, folds)), links, body, foot)


def _tile(fold: TextFold) -> str:
    overall, common = fold.score.overall, fold.score.commonest
    beside = [f"BLEU {four(overall.bleu)}", f"ROUGE-L {four(overall.rougeL)}", f"exact {four(overall.exact)}"]
    if common is not None:
        beside.append(f"commonest answers: METEOR {four(common.meteor)}")
    beside.append(f"{overall.n:,} rows")
    return (
        f'<li class="tile"><a href="#{escape(fold.name)}">{escape(fold.heading)}</a>, METEOR'
        f"<strong>{four(overall.meteor)}</strong>"
        f"95% interval {interval_text(overall.intervals.get('meteor'))}<br>"
        f'<span class="soft">{"; ".join(beside)}</span></li>'
    )


def _section(fold: TextFold) -> str:
    name, score = escape(fold.name), fold.score
    return (
        f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{escape(fold.heading)}</h2>'
        f"{paragraphs(text_lines(score))}{_metrics(score)}"
        f"{_groups('By question class; a row with several classes counts in each.', 'class', score.classes)}"
        f"{_groups('By complexity: the number of facts that an answer joins.', 'complexity', score.complexities)}"
        f"{_facts(score)}</section>"
    )


def _metrics(score: TextScore) -> str:
    columns: list[Column] = [("metric", "text")]
    columns += [("commonest answers", "wide")] if score.commonest is not None else []
    columns += [("score", "number"), ("95% interval", "number")]
    rows = []
    for name in TEXT_METRICS:
        base = [] if score.commonest is None else [four(getattr(score.commonest, name))]
        value = f"<b>{four(getattr(score.overall, name))}</b>"
        rows.append(row(columns, TITLES[name], [*base, value, interval_text(score.overall.intervals.get(name))]))
    return table("All rows, by every metric.", columns, rows)


def _groups(caption: str, heading: str, groups: Mapping[str, TextMetrics]) -> str:
    if not groups:
        return ""
    columns: list[Column] = [(heading, "text"), ("rows", "wide"), ("BLEU", "wide"), ("ROUGE-L", "number")]
    columns += [("METEOR", "number"), ("exact", "number"), ("facts: precision", "wide"), ("facts: recall", "wide")]
    rows = []
    for name, own in groups.items():
        cells = [own.bleu, own.rougeL, own.meteor, own.exact, own.fact_precision, own.fact_recall]
        rows.append(row(columns, escape(name).replace("_", "_<wbr>"), [f"{own.n:,}", *map(decimal, cells)]))
    return table(caption, columns, rows)


def _facts(score: TextScore) -> str:
    columns: list[Column] = [("kind", "text"), ("in gold", "number"), ("precision", "number"), ("recall", "number")]
    rows = [
        row(columns, kind, [f"{own.gold:,}", decimal(own.precision), decimal(own.recall)])
        for kind, own in score.overall.facts.items()
    ]
    return table("Facts that the sentences name, by kind.", columns, rows)


def _gallery(fold: TextFold, thumbnails: Mapping[str, bytes]) -> str:
    """Rows with question, gold and answer, the worst first by METEOR and then ROUGE-L."""
    values = _measured(fold)
    order = _worst_first(values)
    columns: list[Column] = [("picture", "text"), ("question, gold and answer", "text"), ("METEOR", "number")]
    columns.append(("probability", "wide"))
    pictures: dict[str, str] = {}
    rows = []
    for pair in order[:_SHOWN]:
        image_id, number = pair
        question, probability = fold.questions.get(pair), fold.probabilities.get(pair)
        texts = (question.text if question else "", sentence(fold.gold[pair]), sentence(fold.given.get(pair, ())))
        asked, gold, own = (escape(_printable(text)) for text in texts)
        text = f'<span class="soft">{asked}</span><br>gold: <b>{gold}</b><br>answer: {own or "<i>no answer</i>"}'
        if image_id not in pictures:
            pictures[image_id] = _picture(image_id, fold, thumbnails)
        picture, heat = pictures[image_id], fold.heat_maps.get(pair)
        if heat is not None and image_id in thumbnails:
            picture, text = _with_map(picture, heat), text + _HEAT_MAP.format(place=heat.place)
        shown = NONE if probability is None else f"{probability:.2f}"
        head = f"{picture}<div>row {number}</div>"
        rows.append(row(columns, head, [text, f"{values[pair][_METEOR]:.3f}", shown]))
    name, left = escape(f"{fold.name}-gallery"), len(order) - len(rows)
    note = f" The best {left:,} rows are left out." if left > 0 else ""
    shown_table = table(f"Answers, the worst first.{note}", columns, rows)
    return (
        f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{escape(fold.heading)}: answers</h2>'
        f"{details('Question, gold and answer', f'{len(rows):,} rows', shown_table)}</section>"
    )


def shown_pairs(fold: TextFold) -> list[tuple[str, int]]:
    """The rows that the gallery shows."""
    return _worst_first(_measured(fold))[:_SHOWN]


def _measured(fold: TextFold) -> dict[tuple[str, int], Sequence[float]]:
    """The metrics of each row."""
    measure = fold.meter.measure
    return {pair: measure(sentence(fold.given.get(pair, ())), sentence(gold)) for pair, gold in fold.gold.items()}


def _worst_first(values: Mapping[tuple[str, int], Sequence[float]]) -> list[tuple[str, int]]:
    return sorted(values, key=lambda pair: (values[pair][_METEOR], values[pair][_ROUGE_L], pair[1]))


def _with_map(picture: str, heat: SmallMap) -> str:
    """The picture under a map, which the style shows where the row's `_HEAT_MAP` is open."""
    over = f'<img class="over" src="data:image/png;base64,{base64.b64encode(heat.png).decode()}" alt="">'
    return f'<span class="stack">{picture}{over}</span>'


def _picture(image_id: str, fold: TextFold, thumbnails: Mapping[str, bytes]) -> str:
    name = escape(image_name(image_id, fold.records.get(image_id), "qa.jsonl"))
    if image_id not in thumbnails:
        return f'<span class="soft">{name}</span>'
    data = base64.b64encode(thumbnails[image_id]).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="{name}" width="96">'


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
