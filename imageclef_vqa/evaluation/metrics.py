"""How well given answers fit gold ones, pair by pair and question by question.

`exact_set` is the competition's measure as far as it is known: a pair of image and question is right if both answers
are one set of exact strings, and a missing pair is wrong. The others stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imageclef_vqa.task import QUESTIONS, as_set

Answers = tuple[str, ...]
PairAnswers = Mapping[tuple[str, int], Answers]  # (image id, question id) → answers
Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]

PAIR_METRICS = ("exact_set", "exact_ordered", "folded_set", "first_answer", "precision", "recall", "f1")
CLASS_METRICS = ("macro_f1", "mcc")


@lru_cache(maxsize=1 << 16)
def members(answers: Answers) -> frozenset[str]:
    """`as_set`, which is asked for the same answers many times."""
    return as_set(answers)


@lru_cache(maxsize=1 << 16)
def measure(given: Answers, gold: Answers) -> tuple[float, ...]:
    """The value of each of `PAIR_METRICS`, 0 to 1, for one pair.

    `exact_ordered` also asks for the gold's order, `folded_set` forgives case, `first_answer` is what the first given
    answer alone would have been worth; precision, recall and F1 are over the members of the two sets, as
    scikit-learn's `average="samples"` has them; two empty sets agree in all.
    """
    one, other = members(given), members(gold)
    shared = len(one & other)
    return (
        float(one == other),
        float([answer.strip() for answer in given] == [answer.strip() for answer in gold]),
        float({answer.casefold() for answer in one} == {answer.casefold() for answer in other}),
        float(members(given[:1]) == other),
        shared / len(one) if one else float(not other),
        shared / len(other) if other else float(not one),
        2 * shared / (len(one) + len(other)) if one or other else 1.0,
    )


@dataclass(frozen=True)
class PairTable:
    """`values[metric, image, question]` for the images that have gold answers; NaN where a question has none."""

    image_ids: tuple[str, ...]
    values: Numbers

    def of(self, metric: str) -> Numbers:
        """One metric as `[image, question]`."""
        table: Numbers = self.values[PAIR_METRICS.index(metric)]
        return table


def tabulate(given: PairAnswers, gold: PairAnswers) -> PairTable:
    """Measure every gold pair; a pair that was not given counts as answered by nothing, others are ignored."""
    rows: dict[str, int] = {}
    images = [rows.setdefault(image_id, len(rows)) for image_id, _ in gold]
    values = np.full((len(PAIR_METRICS), len(rows), len(QUESTIONS)), np.nan)
    measured = [measure(tuple(given.get(pair, ())), tuple(answers)) for pair, answers in gold.items()]
    if measured:
        values[:, images, [question_id for _, question_id in gold]] = np.array(measured).T
    return PairTable(tuple(rows), values)


def mean_per_question(table: Numbers) -> Numbers:
    """`[image, question]` → `[question]`; NaN for a question without gold answers."""
    known = ~np.isnan(table)
    counts = known.sum(axis=0)
    sums = np.where(known, table, 0.0).sum(axis=0)
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def class_labels(answers: Sequence[Answers], others: Sequence[Answers]) -> tuple[Labels, Labels]:
    """A number from 0 for each distinct set of either sequence: each is a class, and no answer is one, too."""
    place: dict[frozenset[str], int] = {}
    first, second = (
        np.array([place.setdefault(members(each), len(place)) for each in sequence], dtype=np.int64)
        for sequence in (answers, others)
    )
    return first, second


def class_counts(given: Labels, gold: Labels, weights: NDArray[np.floating], rows: Labels) -> Numbers:
    """`[3, class, resample]`: the weight of what is both, gold, and given.

    `weights` is `[image, resample]`, `rows` the image of each pair.
    """
    classes = int(max(given.max(), gold.max())) + 1
    counts = np.zeros((3, classes, weights.shape[1]))
    together = gold * classes + given
    order = np.argsort(together, kind="stable")
    found, starts = np.unique(together[order], return_index=True)
    sums = np.add.reduceat(weights[rows[order]], starts, axis=0)  # of each pair of classes: few, where models are good
    golds, givens = np.divmod(found, classes)
    counts[0, golds[golds == givens]] = sums[golds == givens]
    for place, labels in ((1, golds), (2, givens)):
        order = np.argsort(labels, kind="stable")
        present, starts = np.unique(labels[order], return_index=True)
        counts[place, present] = np.add.reduceat(sums[order], starts, axis=0)
    return counts


def macro_f1(counts: Numbers) -> Numbers:
    """`class_counts` → `[resample]`: mean F1 over all classes, given or gold; NaN without any.

    As scikit-learn's `f1_score(average="macro")` has it.
    """
    both, total = counts[0], counts[1] + counts[2]
    there = total > 0
    scores = np.divide(2 * both, total, out=np.zeros(total.shape), where=there).sum(axis=0)
    classes = there.sum(axis=0)
    return np.divide(scores, classes, out=np.full(classes.shape, np.nan), where=classes > 0)


def matthews(counts: Numbers) -> Numbers:
    """`class_counts` → `[resample]`: Matthews' correlation for many classes (Gorodkin 2004); NaN without any.

    0 where it is not defined, as scikit-learn's `matthews_corrcoef` has it.
    """
    both, gold, given = counts
    total = gold.sum(axis=0)
    covariance = both.sum(axis=0) * total - (gold * given).sum(axis=0)
    spread = np.sqrt((total**2 - (gold**2).sum(axis=0)) * (total**2 - (given**2).sum(axis=0)))
    defined = np.divide(covariance, spread, out=np.zeros(spread.shape), where=spread > 0)
    return np.where(total > 0, defined, np.nan)
