"""Tables that a screen reader can read and a phone can show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.evaluation.metrics import Answers
from imageclef_vqa.evaluation.words import answers_text

# A column's name, and how it is set: "text", "number", or "wide", a number that narrow screens leave out.
Column = tuple[str, str]
_CLASSES = {"text": "text", "number": "number", "wide": "number wide"}


def table(caption: str, columns: Sequence[Column], rows: Iterable[str], foot: str = "") -> str:
    """A table with its caption; `rows` and `foot` are made by `row`."""
    names = "".join(f'<th scope="col" class="{_CLASSES[kind]}">{escape(name)}</th>' for name, kind in columns)
    end = f"<tfoot>{foot}</tfoot>" if foot else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{names}</tr></thead><tbody>{''.join(rows)}</tbody>{end}</table></div>"
    )


def row(columns: Sequence[Column], head: str, cells: Sequence[str]) -> str:
    """A row, its first column the heading; `head` and `cells` are HTML."""
    values = "".join(
        f'<td class="{_CLASSES[kind]}">{cell}</td>' for (_, kind), cell in zip(columns[1:], cells, strict=True)
    )
    return f'<tr><th scope="row">{head}</th>{values}</tr>'


def details(summary: str, beside: str, content: str) -> str:
    """Content that opens at a click or a key; `beside` is said in a softer colour."""
    return (
        f'<details><summary>{escape(summary)} <span class="soft">{escape(beside)}</span></summary>{content}</details>'
    )


def numbered(question_id: int) -> str:
    """`5. What color is the abnormality?`, as HTML."""
    return f"{question_id}. {escape(QUESTIONS[question_id].text)}"


def answers_html(answers: Answers) -> str:
    return escape(answers_text(answers)) or "<i>no answer</i>"


def paragraphs(lines: Iterable[str]) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in lines if line)
