"""Confusion matrices as shaded tables, and precision and recall of the members of sets."""

from __future__ import annotations

from html import escape

from imageclef_vqa.editions import QUESTIONS, same_answer
from imageclef_vqa.evaluation.metrics import PairAnswers
from imageclef_vqa.evaluation.mistakes import Confusion, confusions, member_scores
from imageclef_vqa.evaluation.report.html import Column, answers_html, details, row, table
from imageclef_vqa.evaluation.words import figure

_SHADES = 5


def confusion_sections(given: PairAnswers, gold: PairAnswers) -> str:
    """A matrix per question, closed until it is asked for."""
    return "".join(
        details(
            f"{each.question_id}. {QUESTIONS[each.question_id].text}",
            f"{_wrong(each, given, gold):,} wrong",
            _matrix(each),
        )
        for each in confusions(given, gold)
    )


def _wrong(confusion: Confusion, given: PairAnswers, gold: PairAnswers) -> int:
    """Two of the `others` may be confused, so the matrix alone does not know."""
    asked = (pair for pair in gold if pair[1] == confusion.question_id)
    return sum(not same_answer(given.get(pair, ()), gold[pair]) for pair in asked)


def _matrix(confusion: Confusion) -> str:
    names = [answers_html(answers) for answers in confusion.classes]
    if confusion.others:
        names.append(f"<i>{confusion.others} rarer answers</i>")
    head = "".join(
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
    caption = f"Question {confusion.question_id}: gold answers down, given answers across, by the same numbers."
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="matrix">'
        f'<caption>{escape(caption)}</caption><thead><tr><th scope="col">gold</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _shade(count: int, total: int, *, right: bool) -> str:
    if not count:
        return "none"
    return f"{'good' if right else 'bad'}{min(_SHADES, 1 + int(_SHADES * count / total))}"


def member_sections(given: PairAnswers, gold: PairAnswers) -> str:
    """Precision and recall of each member of the questions whose answers are sets."""
    columns: list[Column] = [("member", "text"), ("in gold", "number"), ("given", "number")]
    columns += [("precision", "number"), ("recall", "number")]
    parts = []
    for question_id, members in member_scores(given, gold).items():
        rows = [
            row(
                columns,
                answers_html((each.member,)),
                [f"{each.gold:,}", f"{each.given:,}", figure(each.precision), figure(each.recall)],
            )
            for each in members
        ]
        found = table(f"Members of the answers to question {question_id}.", columns, rows)
        parts.append(details(f"{question_id}. {QUESTIONS[question_id].text}", f"{len(members)} members", found))
    return f"<h3>Members of sets, one by one</h3>{''.join(parts)}" if parts else ""
