"""What a data set holds, as the paper tells it: image heights (Table 1) and answers per question (Table 4)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.table import Table

from imageclef_vqa.data.dataset import Dataset
from imageclef_vqa.editions import QUESTIONS, join_answers

_MEMBERS_SHOWN = 3


def height_counts(dataset: Dataset) -> dict[str, int]:
    """How many images are low, middling and high (Table 1 of the paper, whose columns are heights)."""
    heights = [example.height for example in dataset.examples]
    return {
        "< 500": sum(height < 500 for height in heights),
        "500–1000": sum(500 <= height <= 1000 for height in heights),
        "> 1000": sum(height > 1000 for height in heights),
    }


def answer_counts(dataset: Dataset) -> dict[int, Counter[str]]:
    """Per question, how often each set of answers is given (Table 4 of the paper)."""
    counts: dict[int, Counter[str]] = {question.id: Counter() for question in QUESTIONS}
    for question_id, answers in dataset.labels():
        counts[question_id][join_answers(sorted(set(answers)))] += 1
    return counts


def statistics(dataset: Dataset) -> dict[str, Any]:
    """Both tables, for JSON."""
    return {
        "images": len(dataset),
        "heights": height_counts(dataset),
        "answers": {str(q): dict(_ranked(counts)) for q, counts in answer_counts(dataset).items()},
    }


def height_table(dataset: Dataset) -> Table:
    """Table 1 of the paper for this data set."""
    table = Table(title="image heights (pixels)", title_justify="left", box=None)
    for band in height_counts(dataset):
        table.add_column(band, justify="right")
    table.add_row(*map(str, height_counts(dataset).values()))
    return table


def answer_table(dataset: Dataset, top: int = 3) -> Table:
    """Table 4 of the paper for this data set: the `top` answers of each question, and how many distinct sets."""
    table = Table(title="answers per question", title_justify="left", box=None)
    table.add_column("id", justify="right")
    table.add_column("question", no_wrap=True)
    table.add_column("sets", justify="right")
    table.add_column("most frequent")
    for question_id, counts in answer_counts(dataset).items():
        shown = "   ".join(f"{_short(answer)} {count}" for answer, count in _ranked(counts)[:top])
        table.add_row(str(question_id), QUESTIONS[question_id].text, str(len(counts)), shown or "no answer given")
    return table


def _short(answer: str) -> str:
    members = answer.split("; ")
    return answer if len(members) <= _MEMBERS_SHOWN else f"{members[0]}; … ({len(members)})"


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
