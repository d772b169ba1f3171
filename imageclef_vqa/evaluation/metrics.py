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

PAIR_METRICS = ("exact_set", "exact_ordered", "folded_set", "first_answer", "precision", "recall", "f1")
CLASS_METRICS = ("macro_f1", "mcc")


@lru_cache(maxsize=1 << 16)
def measure(given: Answers, gold: Answers) -> tuple[float, ...]:
    """The value of each of `PAIR_METRICS`, 0 to 1, for one pair.

    `exact_ordered` also asks for the gold's order, `folded_set` forgives case, `first_answer` is what the first given
    answer alone would have been worth; precision, recall and F1 are over the members of the two sets, as
    scikit-learn's `average="samples"` has them.
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


def class_table(given: Sequence[Answers], gold: Sequence[Answers]) -> NDArray[np.bool_]:
    """`[pair, 3, class]`: whether a class is both, gold, and given; each distinct set is one, and no answer, too."""
    ones, others = [as_set(answers) for answers in given], [as_set(answers) for answers in gold]
    place = {members: at for at, members in enumerate(dict.fromkeys((*others, *ones)))}
    table = np.zeros((len(ones), 3, len(place)), dtype=bool)
    rows = np.arange(len(ones))
    table[rows, 1, [place[members] for members in others]] = True
    table[rows, 2, [place[members] for members in ones]] = True
    table[:, 0] = table[:, 1] & table[:, 2]
    return table


def macro_f1(counts: Numbers) -> Numbers:
    """`[…, 3, class]`, sums of a `class_table` → `[…]`: mean F1 over all classes, given or gold.

    As scikit-learn's `f1_score(average="macro")` has it.
    """
    both, total = counts[..., 0, :], counts[..., 1, :] + counts[..., 2, :]
    there = total > 0
    scores = np.divide(2 * both, total, out=np.zeros(total.shape), where=there)
    return np.asarray(scores.sum(axis=-1) / np.maximum(there.sum(axis=-1), 1))


def matthews(counts: Numbers) -> Numbers:
    """`[…, 3, class]`, sums of a `class_table` → `[…]`: Matthews' correlation for many classes (Gorodkin 2004).

    0 where it is not defined, as scikit-learn's `matthews_corrcoef` has it.
    """
    both, gold, given = (np.asarray(counts[..., at, :], dtype=np.float64) for at in range(3))
    total = gold.sum(axis=-1)
    covariance = both.sum(axis=-1) * total - (gold * given).sum(axis=-1)
    spread = np.sqrt((total**2 - (gold**2).sum(axis=-1)) * (total**2 - (given**2).sum(axis=-1)))
    return np.divide(covariance, spread, out=np.zeros(spread.shape), where=spread > 0)
