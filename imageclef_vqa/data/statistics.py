"""Counts of a data set as in the paper: image heights (Table 1) and answers per question (Table 4), or per class."""

from __future__ import annotations

from collections import Counter
from typing import Any

from imageclef_vqa.data.dataset import Dataset
from imageclef_vqa.data.split import Split, answers_only_in_validation
from imageclef_vqa.editions import QUESTIONS, join_answers


def height_counts(dataset: Dataset) -> dict[str, int]:
    """Number of images in each band of heights in pixels (columns of Table 1)."""
    heights = [example.height for example in dataset.examples]
    return {
        "< 500": sum(height < 500 for height in heights),
        "500–1000": sum(500 <= height <= 1000 for height in heights),
        "> 1000": sum(height > 1000 for height in heights),
    }


def answer_counts(dataset: Dataset) -> dict[int, dict[str, int]]:
    """Question id → set of answers in one string → number of images, the most frequent first (Table 4)."""
    counts: dict[int, Counter[str]] = {question.id: Counter() for question in QUESTIONS}
    for question_id, answers in dataset.labels():
        counts[question_id][join_answers(sorted(set(answers)))] += 1
    return {q: dict(sorted(sets.items(), key=lambda item: (-item[1], item[0]))) for q, sets in counts.items()}


def sentence_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Class of open questions → answer → number of rows; the most frequent classes and answers first.

    A row with several classes counts in each; `any` is the class of rows without one.
    """
    counts: dict[str, Counter[str]] = {}
    for example in dataset.examples:
        for row, (answer,) in example.answers.items():
            for about in example.questions[row].classes or ("any",):
                counts.setdefault(about, Counter())[answer] += 1
    ranked = {about: dict(sorted(of.items(), key=lambda item: (-item[1], item[0]))) for about, of in counts.items()}
    return dict(sorted(ranked.items(), key=lambda item: (-sum(item[1].values()), item[0])))


def _answers(dataset: Dataset) -> dict[str, Any]:
    if not dataset.open:
        return {"answers": {str(question_id): counts for question_id, counts in answer_counts(dataset).items()}}
    classes = {about: {"rows": sum(of.values()), "answers": len(of)} for about, of in sentence_counts(dataset).items()}
    return {"rows": sum(len(example.questions) for example in dataset.examples), "classes": classes}


def split_summary(dataset: Dataset, split: Split) -> dict[str, Any]:
    """A split and the statistics of its data set, for JSON."""
    return {
        "by": split.by,
        "seed": split.seed,
        "folds": [{"train": len(split.train(f)), "val": len(split.val(f))} for f in range(split.folds)],
        "grouped_share": {
            "all": round(split.grouped_share(split.groups), 4),
            "val": [round(split.grouped_share(split.val(f)), 4) for f in range(split.folds)],
        },
        "unseen_in_training": [answers_only_in_validation(dataset, split, f) for f in range(split.folds)],
        "certificate": split.certificate.model_dump(),
        "warnings": dataset.warnings,
        "statistics": {
            "images": len(dataset),
            "heights": height_counts(dataset),
            **_answers(dataset),
        },
    }
