"""The gallery: every image with its answers, in a form that the page's script shows and filters."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.evaluation.folds import ReportFold
from imageclef_vqa.evaluation.metrics import Answers, members
from imageclef_vqa.evaluation.slices import batch_of
from imageclef_vqa.evaluation.words import answers_text

_CONFIDENCES = (
    ("", "any"),
    ("0.95-1", "0.95 and more"),
    ("0.8-0.95", "0.8 to 0.95"),
    ("0.5-0.8", "0.5 to 0.8"),
    ("0-0.5", "under 0.5"),
)


def image_name(image_id: str, record: int | None) -> str:
    """An official id; else the image's place in gt.json: any other id is a file name, which may name a patient."""
    if batch_of(image_id) is not None:
        return image_id
    return "image without an official id" if record is None else f"record {record} of gt.json"


def gallery_data(folds: Sequence[ReportFold], thumbnails: Mapping[str, bytes]) -> str:
    """JSON that can stand in a script element: images, each with rows of question, gold, given, per mille, wrong.

    Answers are numbers of strings; -1 is no answer, or no probability.
    """
    strings: dict[str, int] = {}

    def number(answers: Answers) -> int:
        return strings.setdefault(answers_text(answers), len(strings)) if answers else -1

    images = []
    for at, fold in enumerate(folds):
        rows: dict[str, list[list[int]]] = {}
        for (image_id, question_id), gold in fold.gold.items():
            pair = (image_id, question_id)
            given, probability = fold.given.get(pair, ()), fold.probabilities.get(pair)
            share = -1 if probability is None else round(1000 * probability)
            wrong = int(members(tuple(given)) != members(tuple(gold)))
            rows.setdefault(image_id, []).append([question_id, number(gold), number(given), share, wrong])
        for image_id, found in rows.items():
            name = image_name(image_id, fold.records.get(image_id))
            picture = base64.b64encode(thumbnails.get(image_id, b"")).decode()
            images.append([at, name, picture, sorted(found)])
    content = {
        "folds": [fold.heading for fold in folds],
        "questions": [question.text for question in QUESTIONS],
        "answers": list(strings),
        "images": images,
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    # Within a script element nothing is escaped: what could end it, or start a comment, is spelt another way.
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def gallery_section(folds: Sequence[ReportFold], thumbnails: Mapping[str, bytes]) -> str:
    """The filters, and the places that the script fills."""
    count = len({image_id for fold in folds for image_id, _ in fold.gold})
    bare = count - len({image_id for fold in folds for image_id, _ in fold.gold if image_id in thumbnails})
    without = f" {bare:,} of {count:,} images stand without their picture." if bare else ""
    questions = "".join(
        f'<option value="{question.id}">{question.id}. {escape(question.text)}</option>' for question in QUESTIONS
    )
    places = "".join(f'<option value="{at}">{escape(fold.heading)}</option>' for at, fold in enumerate(folds))
    confidences = "".join(f'<option value="{value}">{text}</option>' for value, text in _CONFIDENCES)
    return f"""<section id="gallery" aria-labelledby="gallery-h"><h2 id="gallery-h">Every image, every mistake</h2>
<p>The surest mistakes come first. Each image opens to all its answers.{without}</p>
<noscript><p>The gallery needs scripts, which this browser does not run.</p></noscript>
<form id="filters" aria-label="Filters of the gallery" autocomplete="off" hidden>
<label>Images <select id="f-fold"><option value="">all</option>{places}</select></label>
<label>Answers <select id="f-kind"><option value="wrong">wrong</option><option value="right">right</option>
<option value="all">all</option></select></label>
<label>Question <select id="f-question"><option value="">all</option>{questions}</select></label>
<label>Answer holds <input id="f-answer" type="search" list="known" placeholder="gold or given"></label>
<label>Probability <select id="f-confidence">{confidences}</select></label>
<label>Order <select id="f-order"><option value="sure">surest first</option><option value="unsure">least sure
first</option><option value="many">most mistakes first</option></select></label>
<button type="reset">Clear</button>
<datalist id="known"></datalist>
</form>
<p id="count" role="status" aria-live="polite"></p>
<ol id="cards"></ol>
<button id="more" type="button" hidden>Show more</button>
</section>"""
