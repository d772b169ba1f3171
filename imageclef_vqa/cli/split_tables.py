"""What `medvqa split` prints: the paper's Tables 1 and 4 for this data set, the folds, and the certificate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from imageclef_vqa.data import Dataset, Split
from imageclef_vqa.data.split import answers_only_in_validation
from imageclef_vqa.data.statistics import answer_counts, height_counts, sentence_counts
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.errors import shortened
from imageclef_vqa.evaluation.display import answers_text

_ANSWERS_SHOWN, _MEMBERS_SHOWN = 3, 3
_LONGEST = 60  # characters of a sentence
_SHARED_SHOWN = 10  # images that are also in another data set


def split_sections(dataset: Dataset, split: Split) -> list[Table | list[str]]:
    """Tables and lists of lines, in order."""
    answers = _class_table(dataset) if dataset.open else _answer_table(dataset)
    return [_height_table(dataset), answers, _folds(dataset, split), _certificate(split)]


def _height_table(dataset: Dataset) -> Table:
    table = Table(title="image heights (pixels)", title_justify="left", box=None)
    counts = height_counts(dataset)
    for band in counts:
        table.add_column(band, justify="right")
    table.add_row(*map(str, counts.values()))
    return table


def _answer_table(dataset: Dataset) -> Table:
    """The most frequent answers of each question, and its number of distinct sets."""
    table = Table(title="answers per question", title_justify="left", box=None)
    table.add_column("id", justify="right")
    table.add_column("question", no_wrap=True)
    table.add_column("sets", justify="right")
    table.add_column("most frequent")
    for question_id, counts in answer_counts(dataset).items():
        shown = ", ".join(f"{_short(answer)} ({count})" for answer, count in list(counts.items())[:_ANSWERS_SHOWN])
        table.add_row(str(question_id), QUESTIONS[question_id].text, str(len(counts)), shown or "no answer given")
    return table


def _class_table(dataset: Dataset) -> Table:
    """The most frequent answer of each class of open questions, its rows and its number of distinct sentences."""
    table = Table(title="open questions by class", title_justify="left", box=None)
    table.add_column("class", no_wrap=True)
    table.add_column("rows", justify="right")
    table.add_column("sentences", justify="right")
    table.add_column("most frequent")
    for about, counts in sentence_counts(dataset).items():
        answer, count = next(iter(counts.items()))
        table.add_row(
            about,
            f"{sum(counts.values()):,}",
            f"{len(counts):,}",
            f"{answers_text((answer,), _LONGEST)} {count:,}",
        )
    return table


def _short(answer: str) -> str:
    members = answer.split("; ")
    return answer if len(members) <= _MEMBERS_SHOWN else f"{members[0]}; … ({len(members)})"


def _folds(dataset: Dataset, split: Split) -> list[str]:
    lines = []
    for fold in range(split.folds):
        name = f"fold {fold}: " if split.folds > 1 else ""
        unseen = answers_only_in_validation(dataset, split, fold)
        remark = "".join(f"; question {q}: {answer!r} never in training" for q, answer in unseen)
        lines.append(f"{name}{len(split.train(fold))} images train, {len(split.val(fold))} validate{remark}")
    return lines


def _certificate(split: Split) -> list[str]:
    certificate = split.certificate
    if certificate.closest is None:
        closest = "no two images on different sides have close perceptual hashes"
    else:
        pair = certificate.closest
        closest = (
            f"most similar pair on different sides: {pair.one} and {pair.other} (similarity {pair.similarity:.2f})"
        )
    in_folds = ", ".join(f"{split.grouped_share(split.val(fold)):.1%}" for fold in range(split.folds))
    return [
        f"{certificate.groups} groups of near-duplicates and frames of one examination, the largest of "
        f"{certificate.largest_group} images",
        f"{split.grouped_share(split.groups):.1%} of all images and {in_folds} of those that validate are in groups "
        "larger than one",
        f"{certificate.linked_pairs} pairs belong together: this split separates {certificate.leaked_pairs} of them, "
        f"a plain random split {certificate.leaked_by_plain_split}",
        closest,
    ]


def shared_lines(shared: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> list[str]:
    """Which images of one data set are also in another, by their names there, for those that share any."""
    lines = []
    for own, others in shared.items():
        for other, images in others.items():
            if images:
                named = [f"{one} ({each['image']})" if one != each["image"] else one for one, each in images.items()]
                which = ", ".join(shortened(named, _SHARED_SHOWN))
                lines.append(f"{own} shares {len(images):,} of its images with {other}: {which}")
    if lines:
        lines.append("a model that learns from an image cannot be scored on it: `--json` lists all of them")
    return lines
