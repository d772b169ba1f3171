"""Gold answers with all that `score` knows of their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imageclef_vqa.data import Dataset, Split
from imageclef_vqa.data.cross_split_duplicates import cross_split_duplicates
from imageclef_vqa.data.reading import has_gold, label_file
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.errors import DamagedFileError, MedvqaError, MissingFileError
from imageclef_vqa.inputs import read_model
from imageclef_vqa.pipeline.answers import Answers, Questions, commonest_answers, questions_of, read_gold
from imageclef_vqa.pipeline.development import Development, read_development, training_vocabulary
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.workspace import Workspace


@dataclass(frozen=True)
class Gold:
    """The gold answers of one fold.

    `trained` are images that the run learnt from, or near-duplicates of one; None where this is unknown. `records` are
    the positions of the images in their gt.json or qa.jsonl, from 1. Open questions are in `questions`, by image and
    row, and `commonest` holds the commonest training answers to them.
    """

    name: str
    answers: Answers
    groups: Mapping[str, int] | None = None
    majority: Sequence[tuple[str, ...]] | None = None
    trained: frozenset[str] | None = None
    images: Mapping[str, Path] = field(default_factory=dict)
    heights: Mapping[str, int] = field(default_factory=dict)
    records: Mapping[str, int] = field(default_factory=dict)
    questions: Questions = field(default_factory=dict)
    commonest: Answers | None = None

    @property
    def image_ids(self) -> frozenset[str]:
        return frozenset(image_id for image_id, _ in self.answers)


def workspace_golds(lineage: Lineage) -> list[Gold]:
    """The validation fold and, where their gold answers are there, the test images."""
    workspace = lineage.workspace
    development = read_development(workspace, dataset=lineage.sources.dataset)
    majority = None
    if not development.dataset.open:
        vocabulary = training_vocabulary(workspace, development)
        majority = [vocabulary[question.id].majority for question in QUESTIONS]
    golds = [
        Gold(
            "val",
            development.validation.gold(),
            groups=development.split.groups,
            majority=majority,
            trained=frozenset(),
            records={example.image_id: at for at, example in enumerate(development.dataset.examples, start=1)},
            **_pictures(development.validation),
            **_open(questions_of(development.validation), development),
        )
    ]
    if has_gold(workspace.test):
        golds.append(_test_gold(lineage, label_file(workspace.test), development, majority))
    return golds


def _test_gold(
    lineage: Lineage, labels: Path, development: Development, majority: Sequence[tuple[str, ...]] | None
) -> Gold:
    answers, records, questions = read_gold(labels)
    open_ = _open(questions, development)
    if not lineage.workspace.has_test:
        return Gold("test", answers, majority=majority, records=records, **open_)
    test = lineage.sources.pictures.readable
    unreadable = {
        image_id: -number for number, image_id in enumerate(lineage.sources.pictures.faults, start=1)
    }  # alone
    duplicates = cross_split_duplicates(test, development.dataset, lineage.workspace.cache)
    learnt = set(development.split.train(development.fold))
    return Gold(
        "test",
        answers,
        groups={**duplicates.groups, **unreadable},
        majority=majority,
        trained=frozenset(
            image_id for image_id, others in duplicates.in_development.items() if not learnt.isdisjoint(others)
        ),
        records=records,
        **_pictures(test),
        **open_,
    )


def _open(questions: Questions, development: Development) -> dict[str, Any]:
    """The fields that only open questions have."""
    if not questions:
        return {}
    return {"questions": questions, "commonest": commonest_answers(development.training, questions)}


def _pictures(dataset: Dataset) -> dict[str, Any]:
    return {
        "images": {example.image_id: example.image for example in dataset.examples},
        "heights": {example.image_id: example.height for example in dataset.examples},
    }


def gold_of_file(workspace: Workspace, path: Path) -> Gold:
    """The gold answers in `path`, with what the workspace knows of their images; the workspace may be empty."""
    answers, records, questions = read_gold(path)
    folder = path.parent / "images"
    ids = dict.fromkeys(image_id for image_id, _ in answers)
    files = {image_id: folder / f"{image_id}.jpg" for image_id in ids} if folder.is_dir() else {}
    images = {image_id: file for image_id, file in files.items() if file.is_file()}
    split = _split_of(workspace)
    groups, trained = None, None
    if split is not None:
        groups = split.groups if not split.groups.keys().isdisjoint(ids) else None
        trained = frozenset(split.train()).intersection(ids)
    return Gold("gold", answers, groups=groups, trained=trained, images=images, records=records, questions=questions)


def _split_of(workspace: Workspace) -> Split | None:
    try:
        return read_model(workspace.split_file, Split)
    except (MissingFileError, DamagedFileError):
        return None


def gold_for(workspace: Workspace, given: Answers, source: str) -> Gold:
    """The fold of the workspace that the images of `given` belong to.

    Raises:
        MedvqaError: there is none.
    """
    answered = {image_id for image_id, _ in given}
    for gold in reversed(workspace_golds(Lineage(workspace))):
        if not answered.isdisjoint(gold.image_ids):
            return gold
    raise MedvqaError(
        f"{source}: none of its images is a validation or test image with gold answers",
        remedy="name the file that has them: `medvqa score FILE --gold gt.json`",
    )
