"""Metrics of given answers against gold answers, per (image, question) pair and per question.

`exact_set` is the competition's metric, as far as it is known: a pair is right if both answers are the same set of
exact strings. A missing pair is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from imageclef_vqa.editions import QUESTIONS, as_set

Answers = tuple[str, ...]
PairAnswers = Mapping[tuple[str, int], Answers]  # (image id, question id) → answers
Outcome = tuple[int, Answers, Answers]  # question id, given, gold
Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]

PAIR_METRICS = ("exact_set", "exact_ordered", "folded_set", "first_answer", "precision", "recall", "f1")
CLASS_METRICS = ("macro_f1", "mcc")


class Forms(NamedTuple):
    """One answer as an ordered list, as a set, and as a set without case."""

    stripped: Answers
    members: frozenset[str]
    folded: frozenset[str]


@lru_cache(maxsize=1 << 16)
def forms(answers: Answers) -> Forms:
    """The forms in which an answer is compared; cached, because many pairs have the same answer."""
    stripped, own = tuple(answer.strip() for answer in answers), as_set(answers)
    return Forms(stripped, own, frozenset(answer.casefold() for answer in own))


def members(answers: Answers) -> frozenset[str]:
    """`as_set`, cached."""
    return forms(answers).members


def measure(given: Answers, gold: Answers) -> tuple[float, ...]:
    """The value of each of `PAIR_METRICS` for one pair, 0 to 1.

    `exact_ordered` requires the order of the gold answer, `folded_set` ignores case, `first_answer` scores only the
    first given answer. Precision, recall and F1 compare the members of the two sets, as scikit-learn's
    `average="samples"`; two empty sets have the value 1.
    """
    (ordered, own, folded), (ordered_gold, own_gold, folded_gold) = forms(given), forms(gold)
    shared = len(own & own_gold)
    return (
        float(own == own_gold),
        float(ordered == ordered_gold),
        float(folded == folded_gold),
        float(frozenset(ordered[:1]) == own_gold),
        shared / len(own) if own else float(not own_gold),
        shared / len(own_gold) if own_gold else float(not own),
        2 * shared / (len(own) + len(own_gold)) if own or own_gold else 1.0,
    )


@dataclass(frozen=True)
class PairTable:
    """All gold pairs with the given answers. Pairs are many and distinct outcomes few, so each is measured once.

    `outcomes` are the distinct (question, given, gold), in order of appearance; `values` is `[metric, outcome]`.
    `rows`, `questions` and `outcome_of_pair` are `[pair]`: the indices of its image, question and outcome.
    """

    image_ids: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    values: Numbers
    rows: Labels
    questions: Labels
    outcome_of_pair: Labels

    def of(self, metric: str) -> Numbers:
        """One metric, `[image, question]`; NaN where an image has no gold answer to a question."""
        return self.as_table(self.values[PAIR_METRICS.index(metric)])

    def as_table(self, values: Sequence[float] | Numbers) -> Numbers:
        """One value per outcome as `[image, question]`; NaN where an image has no gold answer to a question."""
        table = np.full((len(self.image_ids), len(QUESTIONS)), np.nan)
        table[self.rows, self.questions] = np.asarray(values, dtype=np.float64)[self.outcome_of_pair]
        return table

    @cached_property
    def by_question(self) -> dict[int, QuestionPairs]:
        """The pairs of each question that has gold answers, by id."""
        parts, question_of_outcome = {}, np.array([question_id for question_id, _, _ in self.outcomes], dtype=np.int64)
        for question_id in np.unique(question_of_outcome).tolist():
            own, there = question_of_outcome == question_id, self.questions == question_id
            outcomes = [self.outcomes[index][1:] for index in np.flatnonzero(own).tolist()]
            outcome_of_pair = (np.cumsum(own) - 1)[self.outcome_of_pair[there]]
            parts[question_id] = QuestionPairs(outcomes, outcome_of_pair, self.rows[there])
        return parts


class QuestionPairs(NamedTuple):
    """The distinct (given, gold) of one question; `outcome_of_pair` and `rows` are `[pair]`: indices as above."""

    outcomes: list[tuple[Answers, Answers]]
    outcome_of_pair: Labels
    rows: Labels

    @property
    def counts(self) -> dict[tuple[Answers, Answers], int]:
        """How many pairs have each outcome."""
        return dict(zip(self.outcomes, np.bincount(self.outcome_of_pair).tolist(), strict=True))


def tabulate(given: PairAnswers, gold: PairAnswers) -> PairTable:
    """Measure every gold pair. A pair that is not given counts as the empty answer; pairs without gold are ignored."""
    row_of: dict[str, int] = {}
    index_of: dict[Outcome, int] = {}
    rows = [row_of.setdefault(image_id, len(row_of)) for image_id, _ in gold]
    outcome_of_pair = [
        index_of.setdefault((pair[1], tuple(given.get(pair, ())), tuple(answers)), len(index_of))
        for pair, answers in gold.items()
    ]
    values = np.array([measure(own, own_gold) for _, own, own_gold in index_of], dtype=np.float64)
    return PairTable(
        image_ids=tuple(row_of),
        outcomes=tuple(index_of),
        values=values.reshape(len(index_of), len(PAIR_METRICS)).T,
        rows=np.array(rows, dtype=np.int64),
        questions=np.array([question_id for _, question_id in gold], dtype=np.int64),
        outcome_of_pair=np.array(outcome_of_pair, dtype=np.int64),
    )


def ratio(numerator: Numbers, denominator: Numbers, undefined: float = np.nan) -> Numbers:
    """`numerator / denominator`, of one shape; `undefined` where the denominator is not positive."""
    return np.divide(
        numerator, denominator, out=np.full(np.shape(denominator), undefined), where=np.asarray(denominator > 0)
    )


def mean_of_known(values: Numbers, axis: int = -1) -> Numbers:
    """Mean over one axis without NaN; NaN if all are NaN."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=axis), known.sum(axis=axis))


def mean_per_question(table: Numbers) -> Numbers:
    """`[image, question]` → `[question]`; NaN for a question without gold answers."""
    return mean_of_known(table, axis=0)


def class_labels(given: Sequence[Answers], gold: Sequence[Answers]) -> tuple[Labels, Labels]:
    """The class of each answer, numbered from 0: every distinct set is a class, and so is the empty answer."""
    number: dict[frozenset[str], int] = {}
    first, second = (
        np.array([number.setdefault(members(each), len(number)) for each in answers], dtype=np.int64)
        for answers in (given, gold)
    )
    return first, second


def sums_by_label(
    table: Numbers | NDArray[np.bool_], labels: Labels, count: int, rows: Labels | None = None
) -> Numbers:
    """`[label, column]`: for each of `count` labels, the sum of the rows of `table` that have it.

    Labels belong to the rows in their order, or to those with the numbers `rows`, which may repeat.
    """
    rows = np.arange(len(table)) if rows is None else rows
    has_label = csr_array((np.ones(len(rows)), (labels, rows)), shape=(count, len(table)))
    return np.asarray(has_label @ table)


def class_counts(given: Labels, gold: Labels, weights: Numbers) -> Numbers:
    """Confusion counts per class, `[3, class, resample]`: true positives, gold, given.

    `given` and `gold` are classes, `[outcome]`; `weights` is `[outcome, resample]`.
    """
    classes, right = int(max(given.max(), gold.max())) + 1, given == gold
    both = sums_by_label(weights[right], gold[right], classes)
    return np.stack([both, sums_by_label(weights, gold, classes), sums_by_label(weights, given, classes)])


def macro_f1(counts: Numbers) -> Numbers:
    """Mean F1 over the classes that are gold or given, `[resample]`, from `class_counts`; NaN without any.

    Equal to scikit-learn's `f1_score(average="macro")`.
    """
    both, gold, given = counts
    return mean_of_known(ratio(2 * both, gold + given), axis=0)


def matthews(counts: Numbers) -> Numbers:
    """Matthews correlation coefficient of several classes (Gorodkin 2004), `[resample]`, from `class_counts`.

    NaN without any pair; 0 where it is undefined, as in scikit-learn's `matthews_corrcoef`.
    """
    both, gold, given = counts
    total = gold.sum(axis=0)
    covariance = both.sum(axis=0) * total - (gold * given).sum(axis=0)
    variances = (total**2 - (gold**2).sum(axis=0)) * (total**2 - (given**2).sum(axis=0))
    return np.where(total > 0, ratio(covariance, np.sqrt(variances), undefined=0.0), np.nan)
