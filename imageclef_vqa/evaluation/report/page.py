"""The whole page: it holds all it shows, and its own content policy forbids it to load or send anything."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape

from imageclef_vqa.evaluation.folds import ReportFold
from imageclef_vqa.evaluation.paper import TABLE_2, Model
from imageclef_vqa.evaluation.report.drawings import accuracy_by_parameters, parameters_text
from imageclef_vqa.evaluation.report.fold import fold_section
from imageclef_vqa.evaluation.report.gallery import gallery_data, gallery_section
from imageclef_vqa.evaluation.report.html import Column, details, row, table
from imageclef_vqa.evaluation.report.script import SCRIPT
from imageclef_vqa.evaluation.report.style import STYLE
from imageclef_vqa.evaluation.words import SYSTEMS, figure, interval_text


def render_report(
    run: str,
    folds: Sequence[ReportFold],
    *,
    thumbnails: Mapping[str, bytes] | None = None,
    models: Sequence[Model] = (),
) -> str:
    """The page.

    Args:
        thumbnails: image id → a small JPEG without anything but pixels.
        models: the runs of the workspace, for Figure 2.
    """
    title = f"MEDVQA-GI: run {run}"
    pictures = thumbnails or {}
    links = [(fold.name, fold.heading) for fold in folds]
    links += [("models", "Accuracy and size")] * bool(models) + [("gallery", "Every image, every mistake")]
    contents = "".join(f'<li><a href="#{escape(name)}">{escape(text)}</a></li>' for name, text in links)
    policy = (
        f"default-src 'none'; script-src 'sha256-{_digest(SCRIPT)}'; style-src 'sha256-{_digest(STYLE)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the figures</a>
<header>
<h1>{escape(title)}</h1>
<p class="soft">A pair of image and question is right if the answers are one set of exact strings. The global figure is
the plain mean of the questions that have gold answers.</p>
<ul class="tiles">{"".join(map(_tile, folds))}</ul>
<nav aria-label="Contents"><ul>{contents}</ul></nav>
</header>
<main id="content">
{"".join(map(fold_section, folds))}
{_models(models) if models else ""}
{gallery_section(folds, pictures)}
</main>
<footer><p>Intervals are 95%, from {folds[0].score.resamples:,} bootstrap resamples (fewer for the measures beside the
first, and for slices) in which near-duplicate images are drawn together. Nothing on this page was loaded from
elsewhere; thumbnails are too small to read what is written in a picture, and carry nothing but pixels.</p></footer>
<script type="application/json" id="data">{gallery_data(folds, pictures)}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _tile(fold: ReportFold) -> str:
    overall, alone = fold.score.overall, fold.score.blip2
    beside = [] if alone is None else [f"{SYSTEMS['blip2']} {figure(alone.overall.exact_set)}"]
    if overall.linear is not None:
        beside.append(f"linear expert {figure(overall.linear)}")
    if overall.majority is not None:
        beside.append(f"majority answer {figure(overall.majority)}")
    beside.append(f"{fold.score.images:,} images")
    return (
        f'<li class="tile"><a href="#{escape(fold.name)}">{escape(fold.heading)}</a>, {escape(fold.system)}'
        f"<strong>{figure(overall.exact_set)}</strong>"
        f"95% interval {interval_text(overall.interval)}<br>"
        f'<span class="soft">{"; ".join(beside)}</span></li>'
    )


def _models(models: Sequence[Model]) -> str:
    columns: list[Column] = [("model", "text"), ("vision", "text"), ("parameters", "number"), ("accuracy", "number")]
    columns.append(("95% interval", "number"))
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
        for name, model in (
            *((f"paper: {model.name}", model) for model in TABLE_2),
            *((f"run {model.name}", model) for model in models),
        )
    ]
    about = "Figure 2: accuracy against parameters, the paper's models and the runs of this workspace; figures below"
    return (
        '<section id="models" aria-labelledby="models-h"><h2 id="models-h">Accuracy and size</h2>'
        "<p>Figure 2 of the paper with the runs of this workspace, BLIP-2 alone. Validation images differ from the "
        "paper's, so only the pattern compares.</p>"
        '<p><span class="frozen-text">● paper, vision frozen</span> &ensp; '
        '<span class="trained-text">● paper, vision trained</span> &ensp; '
        '<span class="ours-text">◆ these runs</span></p>'
        f"<figure>{accuracy_by_parameters(TABLE_2, models, about)}</figure>"
        + details(
            "The figure as a table", f"{len(rows)} models", table("Table 2 of the paper and these runs.", columns, rows)
        )
        + "</section>"
    )
