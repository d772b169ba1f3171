"""The gallery: every image with its answers, as data and filters for the script of the page."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.evaluation.display import answers_text
from imageclef_vqa.evaluation.folds import ReportFold
from imageclef_vqa.evaluation.metrics import Answers, members
from imageclef_vqa.evaluation.slices import batch_of

_PROBABILITIES = (
    ("", "any"),
    ("0.95-1", "0.95 and more"),
    ("0.8-0.95", "0.8 to 0.95"),
    ("0.5-0.8", "0.5 to 0.8"),
    ("0-0.5", "under 0.5"),
)


def image_name(image_id: str, record: int | None, file: str = "gt.json") -> str:
    """An official id; otherwise the image's record in `file`, because other ids may contain a patient's name."""
    if batch_of(image_id) is not None:
        return image_id
    return "image without an official id" if record is None else f"record {record} of {file}"


def gallery_data(folds: Sequence[ReportFold], thumbnails: Mapping[str, bytes]) -> str:
    """JSON for a script element.

    `images` are lists of fold index, name, thumbnail in base64, and rows. A row is question id, gold and given answers
    as indices of `answers`, which are lists of members (-1: no answer), probability in thousandths (-1: none), 1 if the
    answer is wrong, and, if there is a heat map, its index in `maps`, which are PNGs in base64 with the places where
    they are highest.
    """
    maps: list[list[str]] = []
    index_of: dict[tuple[str, ...], int] = {}

    def index(answers: Answers) -> int:
        shown = tuple(answers_text((member,)) for member in answers)
        return index_of.setdefault(shown, len(index_of)) if answers else -1

    images = []
    for number, fold in enumerate(folds):
        rows: dict[str, list[list[int]]] = {}
        for (image_id, question_id), gold in fold.gold.items():
            pair = (image_id, question_id)
            given, probability = fold.given.get(pair, ()), fold.probabilities.get(pair)
            thousandths = -1 if probability is None else round(1000 * probability)
            wrong = int(members(tuple(given)) != members(tuple(gold)))
            row = [question_id, index(gold), index(given), thousandths, wrong]
            if (heat := fold.heat_maps.get(pair)) is not None:
                row.append(len(maps))
                maps.append([base64.b64encode(heat.png).decode(), heat.place])
            rows.setdefault(image_id, []).append(row)
        for image_id, found in rows.items():
            name = image_name(image_id, fold.records.get(image_id))
            thumbnail = base64.b64encode(thumbnails.get(image_id, b"")).decode()
            images.append([number, name, thumbnail, sorted(found)])
    content = {
        "folds": [fold.heading for fold in folds],
        "questions": [question.text for question in QUESTIONS],
        "answers": list(index_of),
        "images": images,
        "maps": maps,
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    # HTML entities do not work in a script element; JSON escapes keep the text from ending it or starting a comment.
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def gallery_section(folds: Sequence[ReportFold], thumbnails: Mapping[str, bytes]) -> str:
    """The filters, and the empty elements that the script fills."""
    image_ids = {image_id for fold in folds for image_id, _ in fold.gold}
    without = len(image_ids - thumbnails.keys())
    note = f" {without:,} of {len(image_ids):,} images have no thumbnail here." if without else ""
    questions = [("", "all"), *((str(each.id), f"{each.id}. {each.text}") for each in QUESTIONS)]
    images = [("", "all"), *((str(number), fold.heading) for number, fold in enumerate(folds))]
    orders = [("sure", "most probable first"), ("unsure", "least probable first"), ("many", "most answers first")]
    toggle, about = "", ""
    if drawn := sum(len(fold.heat_maps) for fold in folds):
        toggle = '<label class="check"><input id="f-maps" type="checkbox"> Heat maps</label>\n'
        about = (
            f" The filters can show heat maps of the {drawn:,} most probable wrong answers. Bright places carried "
            "the given answer in BLIP-2; they are not where the right answer is. Around the endoscope's field of view, "
            "maps are dimmed."
        )
    return f"""<section id="gallery" aria-labelledby="gallery-h"><h2 id="gallery-h">Images and answers</h2>
<p>Mistakes with the highest probability come first. Each image expands to all its answers.{about}{note}</p>
<noscript><p>The gallery needs JavaScript, which this browser does not run.</p></noscript>
<form id="filters" aria-label="Filters of the gallery" autocomplete="off" hidden>
{_select("Images", "f-fold", images)}
{_select("Answers", "f-kind", [("wrong", "wrong"), ("right", "right"), ("all", "all")])}
{_select("Question", "f-question", questions)}
<label>Answer contains <input id="f-answer" type="search" list="known" placeholder="gold or given"></label>
{_select("Probability", "f-confidence", _PROBABILITIES)}
{_select("Order", "f-order", orders)}
{toggle}<button type="reset">Reset</button>
<datalist id="known"></datalist>
</form>
<p id="count" role="status" aria-live="polite"></p>
<ol id="cards"></ol>
<button id="more" type="button" hidden>Show more</button>
</section>"""


def _select(label: str, element_id: str, options: Sequence[tuple[str, str]]) -> str:
    content = "".join(f'<option value="{value}">{escape(text)}</option>' for value, text in options)
    return f'<label>{label} <select id="{element_id}">{content}</select></label>'
