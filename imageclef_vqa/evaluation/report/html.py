"""Small HTML helpers. Tables have captions and scopes for screen readers, and scroll on narrow screens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Literal

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.evaluation.display import answers_text
from imageclef_vqa.evaluation.metrics import Answers

# The name of a column and its kind; "wide" is a number that narrow screens hide.
Column = tuple[str, Literal["text", "number", "wide"]]
_NO_BREAK = "\u2011"  # a hyphen that keeps "BLIP-2" on one line
_COMMAND, _CODE = re.compile("`([^`]*)`"), r"<code>\1</code>"
_CLASSES = {"text": "text", "number": "number", "wide": "number wide"}


def table(caption: str, columns: Sequence[Column], rows: Iterable[str], foot: str = "") -> str:
    """A table with a caption; `rows` and `foot` come from `row`."""
    names = [(escape(name).replace("-", _NO_BREAK), kind) for name, kind in columns]
    head = "".join(f'<th scope="col" class="{_CLASSES[kind]}">{name}</th>' for name, kind in names)
    return plain_table(caption, head, rows, foot)


def plain_table(caption: str, head: str, rows: Iterable[str], foot: str = "", css_class: str = "") -> str:
    """A table whose heading cells `head` and `rows` are HTML."""
    end = f"<tfoot>{foot}</tfoot>" if foot else ""
    attribute = f' class="{css_class}"' if css_class else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table{attribute}><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>{end}</table></div>"
    )


def row(columns: Sequence[Column], head: str, cells: Sequence[str]) -> str:
    """A row with its heading in the first column; `head` and `cells` are HTML."""
    values = "".join(
        f'<td class="{_CLASSES[kind]}">{cell}</td>' for (_, kind), cell in zip(columns[1:], cells, strict=True)
    )
    return f'<tr><th scope="row">{head}</th>{values}</tr>'


def details(summary: str, note: str, content: str) -> str:
    """Collapsed content; `note` follows the summary in a softer colour."""
    return f'<details><summary>{escape(summary)} <span class="soft">{escape(note)}</span></summary>{content}</details>'


def question_html(question_id: int) -> str:
    """`5. What color is the abnormality?`"""
    return f"{question_id}. {escape(QUESTIONS[question_id].text)}"


def answers_html(answers: Answers) -> str:
    return escape(answers_text(answers)) or "<i>no answer</i>"


def paragraphs(lines: Iterable[str]) -> str:
    """Each line as a paragraph, with commands, which stand in backticks, as code."""
    return "".join(f"<p>{_COMMAND.sub(_CODE, escape(line))}</p>" for line in lines if line)
