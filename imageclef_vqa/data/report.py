"""What `medvqa split` tells: oddities of the data, the folds, the certificate, and the paper's Tables 1 and 4."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from imageclef_vqa.data.dataset import Dataset
from imageclef_vqa.data.split import Split, answers_only_in_validation
from imageclef_vqa.data.statistics import answer_table, height_table, statistics


def split_summary(dataset: Dataset, split: Split) -> dict[str, Any]:
    """All of it, for JSON."""
    return {
        "by": split.by,
        "seed": split.seed,
        "folds": [{"train": len(split.train(f)), "val": len(split.val(f))} for f in range(split.folds)],
        "unseen_in_training": [answers_only_in_validation(dataset, split, f) for f in range(split.folds)],
        "certificate": split.certificate.model_dump(),
        "warnings": dataset.warnings,
        "statistics": statistics(dataset),
    }


def split_sections(dataset: Dataset, split: Split) -> list[Table | list[str]]:
    """All of it, for people: tables and lines."""
    return [height_table(dataset), answer_table(dataset), _folds(dataset, split), _certificate(split)]


def _folds(dataset: Dataset, split: Split) -> list[str]:
    lines = []
    for fold in range(split.folds):
        name = f"fold {fold}: " if split.folds > 1 else ""
        unseen = answers_only_in_validation(dataset, split, fold)
        remark = "".join(f"; question {q}: {answer!r} never in training" for q, answer in unseen)
        lines.append(f"{name}{len(split.train(fold))} images train, {len(split.val(fold))} validate{remark}")
    return lines


def _certificate(split: Split) -> list[str]:
    told = split.certificate
    if told.closest is None:
        closest = "no two pictures on different sides are near each other by their hashes"
    else:
        one, other, similarity = told.closest.one, told.closest.other, told.closest.similarity
        closest = f"most similar pair on different sides: {one} and {other} (similarity {similarity:.2f})"
    return [
        f"{told.groups} groups of near-duplicates and frames of one examination, the largest of "
        f"{told.largest_group} images",
        f"pairs that belong together: {told.linked_pairs}; this split parts {told.leaked_pairs} of them, a plain "
        f"one would part {told.leaked_by_plain_split}",
        closest,
    ]
