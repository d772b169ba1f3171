"""The report page. It contains everything it shows, and its content policy forbids it to load or send anything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources

from imageclef_vqa.evaluation.display import SYSTEMS, decimal, interval_text
from imageclef_vqa.evaluation.folds import ReportFold
from imageclef_vqa.evaluation.paper import TABLE_2, Model
from imageclef_vqa.evaluation.report.drawings import accuracy_by_parameters, parameters_text
from imageclef_vqa.evaluation.report.fold import fold_section
from imageclef_vqa.evaluation.report.gallery import gallery_data, gallery_section
from imageclef_vqa.evaluation.report.html import Column, details, row, table


def render_report(
    run: str,
    folds: Sequence[ReportFold],
    *,
    thumbnails: Mapping[str, bytes] | None = None,
    models: Sequence[Model] = (),
) -> str:
    """The report as one HTML file.

    Args:
        run: name in the title.
        folds: at least one.
        thumbnails: image id → a small JPEG without metadata.
        models: the runs of the workspace, for Figure 2.
    """
    pictures = thumbnails or {}
    links = [(fold.name, fold.heading) for fold in folds]
    links += [("models", "Accuracy and model size")] * bool(models) + [("gallery", "Images and answers")]
    lead = (
        "An answer is right if it is the same set of exact strings as the gold answer. The score is the plain mean of "
        "the questions that have gold answers."
    )
    body = "".join(map(fold_section, folds)) + (_models(models) if models else "") + gallery_section(folds, pictures)
    foot = (
        f"Intervals are 95%, from {folds[0].score.resamples:,} bootstrap resamples of groups of near-duplicate images "
        "(fewer for slices and for metrics other than the official one). This page loads nothing from elsewhere. "
        "Thumbnails are too small to read text in an image, and contain no metadata."
    )
    data = gallery_data(folds, pictures)
    return frame(f"MEDVQA-GI: run {run}", lead, "".join(map(_tile, folds)), links, body, foot, data=data)


def frame(
    title: str,
    lead: str,
    tiles: str,
    links: Sequence[tuple[str, str]],
    body: str,
    foot: str,
    *,
    data: str | None = None,
) -> str:
    """A page with its style and, if there are `data` for it, the script; `tiles` and `body` are HTML.

    `links` are anchors and texts of the contents.
    """
    contents = "".join(f'<li><a href="#{escape(name)}">{escape(text)}</a></li>' for name, text in links)
    style, script = (
        resources.files("imageclef_vqa.evaluation.report").joinpath(name).read_text(encoding="utf-8")
        for name in ("report.css", "report.js")
    )
    scripts = ""
    if data is not None:
        scripts = f'<script type="application/json" id="data">{data}</script>\n<script>{script}</script>\n'
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the scores</a>
<header>
<h1>{escape(title)}</h1>
<p class="soft">{escape(lead)}</p>
<ul class="tiles">{tiles}</ul>
<nav aria-label="Contents"><ul>{contents}</ul></nav>
</header>
<main id="content">
{body}
</main>
<footer><p>{escape(foot)}</p></footer>
{scripts}</body>
</html>
"""


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; script-src 'sha256-{_digest(script)}'; style-src 'sha256-{_digest(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _tile(fold: ReportFold) -> str:
    overall, blip2 = fold.score.overall, fold.score.blip2
    beside = [] if blip2 is None else [f"{SYSTEMS['blip2']} {decimal(blip2.overall.exact_set)}"]
    if overall.classical is not None:
        beside.append(f"classical expert {decimal(overall.classical)}")
    if overall.majority is not None:
        beside.append(f"majority answer {decimal(overall.majority)}")
    beside.append(f"{fold.score.images:,} images")
    return (
        f'<li class="tile"><a href="#{escape(fold.name)}">{escape(fold.heading)}</a>, {escape(fold.system)}'
        f"<strong>{decimal(overall.exact_set)}</strong>"
        f"95% interval {interval_text(overall.interval)}<br>"
        f'<span class="soft">{"; ".join(beside)}</span></li>'
    )


def _models(models: Sequence[Model]) -> str:
    columns: list[Column] = [("model", "text"), ("vision", "text"), ("parameters", "number"), ("accuracy", "number")]
    columns.append(("95% interval", "number"))
    named = [(f"paper: {model.name}", model) for model in TABLE_2] + [(f"run {model.name}", model) for model in models]
    rows = [
        row(
            columns,
            escape(name),
            [
                "frozen" if model.frozen else "trained",
                parameters_text(model.parameters),
                f"{model.accuracy:.4f}",
                interval_text(model.interval),
            ],
        )
        for name, model in named
    ]
    label = "Figure 2: accuracy against parameters, the paper's models and the runs of this workspace"
    return (
        '<section id="models" aria-labelledby="models-h"><h2 id="models-h">Accuracy and model size</h2>'
        "<p>Figure 2 of the paper, exact sets against parameters, with the runs of this workspace, without routing. "
        "The validation images differ from the paper's, so compare the pattern and not single values.</p>"
        '<p><span class="frozen-text">● paper, vision frozen</span> &ensp; '
        '<span class="trained-text">● paper, vision trained</span> &ensp; '
        '<span class="ours-text">◆ these runs</span></p>'
        f"<figure>{accuracy_by_parameters(TABLE_2, models, label)}</figure>"
        + details(
            "The figure as a table", f"{len(rows)} models", table("Table 2 of the paper and these runs.", columns, rows)
        )
        + "</section>"
    )
