"""How well given answers fit gold ones, pair by pair and question by question.

`exact_set` is the competition's measure as far as it is known: a pair of image and question is right if both answers
are one set of exact strings, and a missing pair is wrong. The others stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from imageclef_vqa.editions import QUESTIONS, as_set

Answers = tuple[str, ...]
PairAnswers = Mapping[tuple[str, int], Answers]  # (image id, question id) → answers
Couple = tuple[int, Answers, Answers]  # question id, given, gold
Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]
T = TypeVar("T", bound=np.number)

PAIR_METRICS = ("exact_set", "exact_ordered", "folded_set", "first_answer", "precision", "recall", "f1")
CLASS_METRICS = ("macro_f1", "mcc")


class Forms(NamedTuple):
    """An answer in the forms in which it is compared: in order, as the set, as the set without case."""

    stripped: Answers
    members: frozenset[str]
    folded: frozenset[str]


@lru_cache(maxsize=1 << 16)
def forms(answers: Answers) -> Forms:
    """The forms of one answer, which many pairs share."""
    stripped, own = tuple(answer.strip() for answer in answers), as_set(answers)
    return Forms(stripped, own, frozenset(answer.casefold() for answer in own))


def members(answers: Answers) -> frozenset[str]:
    """`as_set`, which is asked for the same answers many times."""
    return forms(answers).members


def measure(given: Answers, gold: Answers) -> tuple[float, ...]:
    """The value of each of `PAIR_METRICS`, 0 to 1, for one pair.

    `exact_ordered` also asks for the gold's order, `folded_set` forgives case, `first_answer` is what the first given
    answer alone would have been worth; precision, recall and F1 are over the members of the two sets, as
    scikit-learn's `average="samples"` has them; two empty sets agree in all.
    """
    (ordered, one, folded), (ordered_gold, other, folded_gold) = forms(given), forms(gold)
    shared = len(one & other)
    return (
        float(one == other),
        float(ordered == ordered_gold),
        float(folded == folded_gold),
        float(frozenset(ordered[:1]) == other),
        shared / len(one) if one else float(not other),
        shared / len(other) if other else float(not one),
        2 * shared / (len(one) + len(other)) if one or other else 1.0,
    )


@dataclass(frozen=True)
class PairTable:
    """Every gold pair with what was given, each couple of answers to a question held once: pairs are many, couples few.

    `couples` are (question, given, gold), in the order in which each first comes, and `values[metric, couple]` is how
    well they fit. `rows`, `questions` and `codes` are `[pair]`: its image, its question, its couple.
    """

    image_ids: tuple[str, ...]
    couples: tuple[Couple, ...]
    values: Numbers
    rows: Labels
    questions: Labels
    codes: Labels

    def of(self, metric: str) -> Numbers:
        """One metric as `[image, question]`; NaN where a question has no gold answer."""
        return self.spread(self.values[PAIR_METRICS.index(metric)])

    def spread(self, values: Sequence[float] | Numbers) -> Numbers:
        """A value for each couple, as `[image, question]`; NaN where a question has no gold answer."""
        table = np.full((len(self.image_ids), len(QUESTIONS)), np.nan)
        table[self.rows, self.questions] = np.asarray(values, dtype=np.float64)[self.codes]
        return table

    @cached_property
    def by_question(self) -> dict[int, QuestionPairs]:
        """The pairs of each question that has gold answers, by its id."""
        parts, asked = {}, np.array([question_id for question_id, _, _ in self.couples], dtype=np.int64)
        for question_id in np.unique(asked).tolist():
            own, there = asked == question_id, self.questions == question_id
            couples = [self.couples[code][1:] for code in np.flatnonzero(own).tolist()]
            parts[question_id] = QuestionPairs(couples, (np.cumsum(own) - 1)[self.codes[there]], self.rows[there])
        return parts


class QuestionPairs(NamedTuple):
    """The (given, gold) of one question, each once; `codes` and `rows` are `[pair]`: which of them it is, its image."""

    couples: list[tuple[Answers, Answers]]
    codes: Labels
    rows: Labels

    @property
    def counts(self) -> dict[tuple[Answers, Answers], int]:
        """How often each couple comes."""
        return dict(zip(self.couples, np.bincount(self.codes).tolist(), strict=True))


def tabulate(given: PairAnswers, gold: PairAnswers) -> PairTable:
    """Measure every gold pair; a pair that was not given counts as answered by nothing, others are ignored."""
    row_of: dict[str, int] = {}
    code_of: dict[Couple, int] = {}
    rows = [row_of.setdefault(image_id, len(row_of)) for image_id, _ in gold]
    codes = [
        code_of.setdefault((pair[1], tuple(given.get(pair, ())), tuple(answers)), len(code_of))
        for pair, answers in gold.items()
    ]
    values = np.array([measure(one, other) for _, one, other in code_of], dtype=np.float64)
    return PairTable(
        image_ids=tuple(row_of),
        couples=tuple(code_of),
        values=values.reshape(len(code_of), len(PAIR_METRICS)).T,
        rows=np.array(rows, dtype=np.int64),
        questions=np.array([question_id for _, question_id in gold], dtype=np.int64),
        codes=np.array(codes, dtype=np.int64),
    )


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


def class_counts(given: Labels, gold: Labels, weights: NDArray[T]) -> NDArray[T]:
    """`[3, class, resample]`: the weight of what is both, gold, and given, of whole `weights` `[couple, resample]`."""
    classes, right = int(max(given.max(), gold.max())) + 1, given == gold
    return np.stack(
        [
            sums_by_label(gold[right], weights[right], classes),
            sums_by_label(gold, weights, classes),
            sums_by_label(given, weights, classes),
        ]
    )


def sums_by_label(labels: Labels, values: NDArray[T], count: int, rows: Labels | None = None) -> NDArray[T]:
    """`[label, column]`: for each of `count` labels, the sum of the rows of `values` that have it.

    `labels` belong to the rows of `values`, or to the `rows` of it that are named. Sums are of the type of `values`,
    which has to hold them.
    """
    sizes, order = np.bincount(labels, minlength=count), np.argsort(labels, kind="stable")
    starts = np.cumsum(sizes) - sizes
    rows = order if rows is None else rows[order]
    sums = np.zeros((count, values.shape[1]), dtype=values.dtype)
    for size in np.unique(sizes[sizes > 0]):  # labels of like size at once: there are few sizes, whatever the labels
        alike = np.flatnonzero(sizes == size)
        sums[alike] = values[rows[starts[alike, None] + np.arange(size)]].sum(axis=1, dtype=values.dtype)
    return sums


def macro_f1(counts: NDArray[T]) -> Numbers:
    """`class_counts` → `[resample]`: mean F1 over all classes, given or gold; NaN without any.

    As scikit-learn's `f1_score(average="macro")` has it.
    """
    both, total = counts[0], counts[1] + counts[2]
    classes = np.count_nonzero(total, axis=0)
    np.maximum(total, 1, out=total)  # where it is 0, so is the other
    scores = 2 * np.divide(both, total, dtype=np.float64).sum(axis=0)
    return np.divide(scores, classes, out=np.full(classes.shape, np.nan), where=classes > 0)


def matthews(counts: NDArray[T]) -> Numbers:
    """`class_counts` → `[resample]`: Matthews' correlation for many classes (Gorodkin 2004); NaN without any.

    0 where it is not defined, as scikit-learn's `matthews_corrcoef` has it.
    """
    both, gold, given = counts
    total = gold.sum(axis=0, dtype=np.float64)
    covariance = both.sum(axis=0) * total - _products(gold, given)
    spread = np.sqrt((total**2 - _products(gold, gold)) * (total**2 - _products(given, given)))
    defined = np.divide(covariance, spread, out=np.zeros(spread.shape), where=spread > 0)
    return np.where(total > 0, defined, np.nan)


def _products(one: NDArray[Any], other: NDArray[Any]) -> Numbers:
    """Two tables `[class, resample]`, multiplied and summed over the classes; exact, as narrow numbers are not."""
    products: Numbers = np.einsum("cr,cr->r", one, other, dtype=np.float64)
    return products
