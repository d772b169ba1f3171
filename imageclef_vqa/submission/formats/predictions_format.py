"""A run as the JSON of later editions: `{"predictions": [{index, img_id, question, answer}, …]}`."""

from __future__ import annotations

from collections.abc import Iterator

from imageclef_vqa.editions import Edition, join_answers
from imageclef_vqa.submission.formats.json_format import dumps, load
from imageclef_vqa.submission.formats.parsed import ParsedRun, Row, cell_answers
from imageclef_vqa.submission.run import Layout

_KEYS = ("index", "img_id", "question", "answer")


def write(layout: Layout) -> bytes:
    """The answers of `layout`, one to a line; a set is one string, `pink; red`."""
    pairs = [(image_id, entry) for image_id, entries in layout.items() for entry in entries]
    rows = (
        {"index": index, "img_id": image_id, "question": entry["Question"], "answer": join_answers(entry["Answer"])}
        for index, (image_id, entry) in enumerate(pairs)
    )
    return ('{"predictions": [\n' + ",\n".join(map(dumps, rows)) + "\n]}\n").encode()


def read(text: str, parsed: ParsedRun, edition: Edition) -> Iterator[Row]:
    """The rows of `text`; faults and notes go to `parsed`."""
    if not load(text, parsed):
        return
    content = parsed.content
    rows = content.get("predictions") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        parsed.fault("structure", f"{parsed.name}: not an object with a list of predictions")
        return
    for index, row in enumerate(rows):
        location = f"{parsed.name}, prediction {index}"
        if parsed.gives_up(location):
            return
        if not isinstance(row, dict) or not set(_KEYS) <= set(row):
            parsed.fault("structure", f"{location}: not an object of {', '.join(_KEYS)}")
            continue
        if row["index"] != index or type(row["index"]) is not int:  # True == 1
            parsed.fault("structure", f"{location}: index is {row['index']!r:.40}, not {index}")
        text = row["question"]
        question = edition.find(text) if isinstance(text, str) else None
        if question is None:
            parsed.fault("question-id", f"{location}: question is {text!r:.80}, none of the {len(edition.questions)}")
            continue
        if not isinstance(row["answer"], str):
            parsed.fault("answer-form", f"{location}: answer is {row['answer']!r:.80}; this edition takes one string")
            if isinstance(row["img_id"], str):
                parsed.faulty.add((row["img_id"], question.id))
            continue
        yield Row(location, row["img_id"], question.id, text, cell_answers(row["answer"]))
