"""How well given answers fit gold ones, pair by pair and question by question.

`exact_set` is the competition's measure as far as it is known: a pair of image and question is right if both answers
are one set of exact strings, and a missing pair is wrong. The others stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imageclef_vqa.task import QUESTIONS, as_set

Answers = tuple[str, ...]
PairAnswers = Mapping[tuple[str, int], Answers]  # (image id, question id) → answers
Numbers = NDArray[np.float64]

PAIR_METRICS = ("exact_set", "exact_ordered", "folded_set", "first_answer", "precision", "recall", "f1")


@lru_cache(maxsize=1 << 16)
def measure(given: Answers, gold: Answers) -> tuple[float, ...]:
    """The value of each of `PAIR_METRICS`, 0 to 1, for one pair.

    `exact_ordered` also asks for the gold's order, `folded_set` forgives case, `first_answer` is what the first given
    answer alone would have been worth; precision, recall and F1 are over the members of the two sets.
    """
    one, other = as_set(given), as_set(gold)
    shared = len(one & other)
    return (
        float(one == other),
        float([answer.strip() for answer in given] == [answer.strip() for answer in gold]),
        float({answer.casefold() for answer in one} == {answer.casefold() for answer in other}),
        float(as_set(given[:1]) == other),
        shared / len(one) if one else 0.0,
        shared / len(other) if other else 0.0,
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
    for image_id, _ in gold:
        rows.setdefault(image_id, len(rows))
    values = np.full((len(PAIR_METRICS), len(rows), len(QUESTIONS)), np.nan)
    for pair, answers in gold.items():
        values[:, rows[pair[0]], pair[1]] = measure(tuple(given.get(pair, ())), tuple(answers))
    return PairTable(tuple(rows), values)


def mean_per_question(table: Numbers) -> Numbers:
    """`[image, question]` → `[question]`; NaN for a question without gold answers."""
    known = ~np.isnan(table)
    counts = known.sum(axis=0)
    sums = np.where(known, table, 0.0).sum(axis=0)
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def confusion(given: list[Answers], gold: list[Answers]) -> NDArray[np.int64]:
    """Counts `[gold class, given class]`, where each distinct set is one class and no answer is one too."""
    ones, others = [as_set(answers) for answers in given], [as_set(answers) for answers in gold]
    classes = {members: place for place, members in enumerate(dict.fromkeys((*others, *ones)))}
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, ([classes[members] for members in others], [classes[members] for members in ones]), 1)
    return counts


def macro_f1(counts: NDArray[np.int64]) -> float:
    """Mean F1 over all classes, given or gold, as scikit-learn's `f1_score(average="macro")` has it."""
    return float(np.mean(2 * counts.diagonal() / (counts.sum(axis=0) + counts.sum(axis=1))))


def matthews(counts: NDArray[np.int64]) -> float:
    """Matthews' correlation for many classes (Gorodkin 2004); 0 where it is not defined."""
    total, gold, given = float(counts.sum()), counts.sum(axis=1).astype(float), counts.sum(axis=0).astype(float)
    spread = np.sqrt(total**2 - (gold**2).sum()) * np.sqrt(total**2 - (given**2).sum())
    return float((counts.trace() * total - gold @ given) / spread) if spread > 0 else 0.0
