"""Confusion matrices as shaded tables, and precision and recall of the members of sets."""

from __future__ import annotations

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.evaluation.display import decimal
from imageclef_vqa.evaluation.metrics import PairAnswers
from imageclef_vqa.evaluation.mistakes import Confusion, confusions, member_scores
from imageclef_vqa.evaluation.report.html import Column, answers_html, details, plain_table, row, table

_SHADES = 5


def confusion_sections(given: PairAnswers, gold: PairAnswers) -> str:
    """A collapsed matrix per question."""
    parts = [
        details(f"{each.question_id}. {QUESTIONS[each.question_id].text}", f"{each.wrong:,} wrong", _matrix(each))
        for each in confusions(given, gold)
    ]
    return f"<h3>Confusion matrices</h3>{''.join(parts)}"


def _matrix(confusion: Confusion) -> str:
    names = [answers_html(answers) for answers in confusion.classes]
    if confusion.others:
        names.append(f"<i>{confusion.others} rarer answers</i>")
    head = '<th scope="col">gold</th>' + "".join(
        f'<th scope="col" class="number" aria-label="given {number}">{number}</th>'
        for number in range(1, len(names) + 1)
    )
    rows = []
    for index, (name, counts) in enumerate(zip(names, confusion.counts, strict=True)):
        total = sum(counts)
        cells = "".join(
            f'<td class="number {_shade(count, total, right=at == index)}">{count or "·"}</td>'
            for at, count in enumerate(counts)
        )
        rows.append(f'<tr><th scope="row"><span class="soft">{index + 1}</span> {name}</th>{cells}</tr>')
    caption = f"Question {confusion.question_id}: gold answers in rows, given answers in columns of the same numbers."
    return plain_table(caption, head, rows, css_class="matrix")


def _shade(count: int, total: int, *, right: bool) -> str:
    if not count:
        return "none"
    return f"{'good' if right else 'bad'}{min(_SHADES, 1 + int(_SHADES * count / total))}"


def member_sections(given: PairAnswers, gold: PairAnswers) -> str:
    """Precision and recall of each member, by question with sets as answers."""
    columns: list[Column] = [("member", "text"), ("in gold", "number"), ("given", "number")]
    columns += [("precision", "number"), ("recall", "number")]
    parts = []
    for question_id, members in member_scores(given, gold).items():
        rows = [
            row(
                columns,
                answers_html((each.member,)),
                [f"{each.gold:,}", f"{each.given:,}", decimal(each.precision), decimal(each.recall)],
            )
            for each in members
        ]
        found = table(f"Members of the answers to question {question_id}.", columns, rows)
        parts.append(details(f"{question_id}. {QUESTIONS[question_id].text}", f"{len(members)} members", found))
    return f"<h3>Precision and recall of set members</h3>{''.join(parts)}" if parts else ""
