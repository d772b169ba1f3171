"""Dividing a data set into training and validation images without leaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imageclef_vqa.data.dataset import Dataset, Example
from imageclef_vqa.data.duplicates import (
    Link,
    group_images,
    hash_candidates,
    picture_links,
    picture_similarity,
    text_links,
)
from imageclef_vqa.data.images import index_images
from imageclef_vqa.data.split import By, Certificate, ClosestPair, Split
from imageclef_vqa.data.stratify import stratify
from imageclef_vqa.editions import as_set
from imageclef_vqa.editions.facts import facts_in
from imageclef_vqa.errors import MedvqaError


def make_split(
    dataset: Dataset,
    *,
    val: float | None = None,
    folds: int | None = None,
    by: By = "group",
    seed: int = 0,
    cache: Path | None = None,
) -> Split:
    """Hold out the share `val` of the images, or distribute all images over `folds`.

    By `"group"`, near-duplicates and frames of one examination stay together, and the folds are stratified over the
    answers to all questions, or over the facts in the answers to open ones. `"image"` is the plain random split of the
    paper. The order of records and labels does not matter.

    Raises:
        MedvqaError: there are too few images or groups for the folds, or an image changed since it was read.
    """
    if (val is None) == (folds is None):
        raise ValueError("either val or folds")
    if folds is not None and folds > len(dataset):
        raise MedvqaError(f"{len(dataset)} images do not fill {folds} folds", remedy="use fewer folds, or add images")
    dataset = dataset.subset(sorted(dataset.image_ids))
    ids = dataset.image_ids
    relations = _relations(dataset, cache)
    group = group_images(relations.links, len(ids))
    # With `val` there are two shares: the images that validate, and the rest.
    shares = [val, 1 - val] if val is not None else [1 / folds] * folds if folds else []
    plain = _random_folds(len(ids), shares, seed)
    fold = plain if by == "image" else _stratified_folds(dataset, group, shares, seed)
    sizes = [int((fold == f).sum()) for f in range(len(shares))]
    if min(sizes) == 0:
        raise MedvqaError(
            f"{sizes.count(0)} of {len(sizes)} folds would have no image: images {len(ids)}, "
            f"groups of near-duplicates {group.max() + 1}",
            remedy="use fewer folds or another --val, or add images",
        )
    validating = 1 if val is not None else len(shares)
    return Split(
        by=by,
        seed=seed,
        validation=tuple(tuple(ids[i] for i in np.flatnonzero(fold == f)) for f in range(validating)),
        groups=dict(zip(ids, group.tolist(), strict=True)),
        fingerprint=dataset.fingerprint,
        certificate=_certify(ids, relations, group, fold, plain),
    )


@dataclass(frozen=True)
class _Relations:
    """`pairs` [n, 2] of images with close hashes, their `similarity` [n], and the links between images."""

    pairs: np.ndarray
    similarity: np.ndarray
    links: Sequence[Link]


def _relations(dataset: Dataset, cache: Path | None) -> _Relations:
    rows, faults = index_images([example.image for example in dataset.examples], cache)
    if faults:
        raise MedvqaError(f"{dataset.folder}: images changed while they were read", remedy="run the command again")
    pairs = hash_candidates(rows)
    similarity = picture_similarity(rows, pairs)
    return _Relations(pairs, similarity, picture_links(pairs, similarity) + text_links(rows))


def _random_folds(count: int, shares: Sequence[float], seed: int) -> np.ndarray:
    """A random fold [count] for every image."""
    ends = np.rint(np.cumsum(shares) * count).astype(int)
    fold = np.empty(count, dtype=int)
    for number, images in enumerate(np.split(np.random.default_rng(seed).permutation(count), ends[:-1])):
        fold[images] = number
    return fold


def _stratified_folds(dataset: Dataset, group: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    """A fold [count] for every image that is the same for all images of a group."""
    labels = [_labels_of(example) for example in dataset.examples]
    column = {label: index for index, label in enumerate(sorted(set().union(*labels)))}
    counts = np.zeros((int(group.max()) + 1, len(column)))
    for g, of_image in zip(group, labels, strict=True):
        for label in of_image:
            counts[g, column[label]] += 1
    return stratify(counts, np.bincount(group).astype(float), shares, seed)[group]


def _labels_of(example: Example) -> set[tuple[str | int, str]]:
    """What the folds are stratified over: answers by question or, for open questions, their facts by class."""
    if not example.questions:
        return {(q, answer) for q, given in example.answers.items() for answer in as_set(given)}
    return {
        (about, " ".join(fact))
        for row, question in example.questions.items()
        for about in question.classes or ("",)
        for fact in facts_in(" ".join(example.answers.get(row, ())))
    }


def _certify(
    ids: Sequence[str], relations: _Relations, group: np.ndarray, fold: np.ndarray, plain: np.ndarray
) -> Certificate:
    return Certificate(
        groups=int(group.max()) + 1,
        largest_group=int(np.bincount(group).max()),
        linked_pairs=len({(link.one, link.other) for link in relations.links}),
        leaked_pairs=_leaked(relations.links, fold),
        leaked_by_plain_split=_leaked(relations.links, plain),
        closest=_closest(ids, relations, fold),
    )


def _leaked(links: Sequence[Link], fold: np.ndarray) -> int:
    """How many linked pairs are on different sides."""
    return len({(link.one, link.other) for link in links if fold[link.one] != fold[link.other]})


def _closest(ids: Sequence[str], relations: _Relations, fold: np.ndarray) -> ClosestPair | None:
    apart = fold[relations.pairs[:, 0]] != fold[relations.pairs[:, 1]]
    if not apart.any():
        return None
    best = int(np.argmax(np.where(apart, relations.similarity, -1)))
    one, other = relations.pairs[best]
    return ClosestPair(one=ids[one], other=ids[other], similarity=float(relations.similarity[best]))
