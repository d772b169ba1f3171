"""A run as JSON: an object of images, each with the list of its answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from imageclef_vqa.editions import Edition
from imageclef_vqa.submission.formats.parsed import ParsedRun, Row
from imageclef_vqa.submission.run import COLUMNS, Layout

_MOST_ANSWERS = 100  # of an image
_MOST_DIGITS = 15
_KEYS = COLUMNS[1:]  # of an answer


def write(layout: Layout) -> bytes:
    """The layout as it is, one image to a line."""
    images = (f"{dumps(image_id)}: {dumps(entries)}" for image_id, entries in layout.items())
    return ("{\n" + ",\n".join(images) + "\n}\n").encode()


def dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def read(text: str, parsed: ParsedRun, edition: Edition) -> Iterator[Row]:
    """The rows of `text`; faults and notes go to `parsed`."""
    if load(text, parsed):
        yield from _rows(parsed, len(edition.questions))


def load(text: str, parsed: ParsedRun) -> bool:
    """Whether `text` is JSON; it is then `parsed.content`, else a fault."""
    repeated: list[str] = []
    try:
        parsed.content = _loads(text, parsed, repeated)
    except RecursionError:
        parsed.fault("syntax", f"{parsed.name}: not JSON: nested too deeply to be a run")
        return False
    except json.JSONDecodeError as error:
        location = f"line {error.lineno}, column {error.colno}"
        parsed.fault("syntax", f"{parsed.name}: not JSON: {error.msg}, {location}{_reason(text, error)}")
        return False
    except ValueError as error:
        parsed.fault("syntax", f"{parsed.name}: not JSON: {error}")
        return False
    for key in repeated:
        parsed.fault("duplicate", f"{parsed.name}: {key[:80]!r} stands twice in one object")
    return True


def _loads(text: str, parsed: ParsedRun, repeated: list[str]) -> Any:
    """JSON by the standard: NaN is a fault, and keys that an object repeats are added to `repeated`."""

    def unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(members)) < len(members):
            repeated.extend(key for key, count in Counter(key for key, _ in members).items() if count > 1)
        return found

    return json.loads(
        text,
        object_pairs_hook=unique,
        parse_constant=lambda constant: parsed.fault("syntax", f"{parsed.name}: not JSON: {constant}"),
        # int() refuses thousands of digits; no field of a run has that many.
        parse_int=lambda digits: int(digits) if len(digits) <= _MOST_DIGITS else digits[:_MOST_DIGITS] + "…",
    )


def _reason(text: str, error: json.JSONDecodeError) -> str:
    start, rest = text.lstrip(), text[error.pos :].strip()
    if error.msg.startswith("Unterminated string") or (len(rest) < 2 and rest not in ("]", "}")):
        return ": the file ends in the middle"
    if start.startswith(COLUMNS[0]):
        return ": this is CSV: name it .csv"
    if start.startswith("{'"):
        return ": this is a printed Python object: json.dump writes JSON"
    return ": the file holds several values, one per line; a run is one object" if error.msg == "Extra data" else ""


def _rows(parsed: ParsedRun, questions: int) -> Iterator[Row]:
    images = parsed.content
    if not isinstance(images, dict):
        labels = isinstance(images, list) and bool(images) and isinstance(images[0], dict) and "Labels" in images[0]
        why = ": these are labels, as in gt.json" * labels
        parsed.fault("structure", f"{parsed.name}: not an object of images, the organisers' format{why}")
        return
    if isinstance(images.get("predictions"), list):
        other = "the list of later editions: check it with --edition gi-2025"
        parsed.fault("structure", f"{parsed.name}: not an object of images, but {other}")
        return
    for image_id, entries in images.items():
        image = f"{parsed.name}, {image_id[:80]}"
        if parsed.gives_up(image):
            return
        if not isinstance(entries, list):
            parsed.fault("structure", f"{image}: not a list of answers")
            continue
        if not entries:
            parsed.fault("structure", f"{image}: an empty list")
        if len(entries) > _MOST_ANSWERS:
            parsed.fault("size", f"{image}: {len(entries):,} answers, an image has {questions}")
            continue
        for number, entry in enumerate(entries, start=1):
            location = f"{image}, answer {number}"
            if not isinstance(entry, dict) or set(entry) != set(_KEYS):
                parsed.fault("structure", f"{location}: not an object of {', '.join(_KEYS)}{_difference(entry)}")
                continue
            answer = entry["Answer"]
            if isinstance(answer, str):  # the organisers do not say whether an answer is a list or a string
                parsed.strings.append(location)
                answer = [answer]
            else:
                parsed.lists += 1
            yield Row(location, image_id, entry["QuestionID"], entry["Question"], answer)


def _difference(entry: Any) -> str:
    if not isinstance(entry, dict):
        return ""
    missing, extra = [key for key in _KEYS if key not in entry], [key for key in entry if key not in COLUMNS]
    parts = [f"{verb} {', '.join(keys)[:80]}" for verb, keys in (("lacks", missing), ("has", extra)) if keys]
    return f": {'; '.join(parts)}" * bool(parts)
