"""How often each answer is given, and whether two such counts can come from one distribution."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from scipy.special import chdtrc

from imageclef_vqa.editions import as_set
from imageclef_vqa.submission.run import PairAnswers, RunAnswers

Counts = Counter[frozenset[str]]  # answer → how often it is given
IMPOSSIBLE = 1e-6  # probability; a rarer event is not chance
_LEAST_EXPECTED = 5.0  # Cochran's rule


class QuestionCounts(NamedTuple):
    """The answers to one question: in the run, in the training labels, and of the same model to validation images."""

    given: Counts
    labels: Counts
    validation: Counts


def count_answers(run: RunAnswers) -> dict[int, QuestionCounts]:
    """Question id → counts, for the questions that the run answers."""
    given, validation = _by_question(run.answers), _by_question(run.validation)
    return {
        question_id: QuestionCounts(
            counts,
            Counter({frozenset(members): count for members, count in run.vocabulary[question_id].sets}),
            validation.get(question_id, Counter()),
        )
        for question_id, counts in sorted(given.items())
    }


def _by_question(answers: PairAnswers) -> dict[int, Counts]:
    counts: dict[int, Counts] = {}
    for (_, question_id), given in answers.items():
        counts.setdefault(question_id, Counter())[as_set(given)] += 1
    return counts


def homogeneity(one: Counter[Any], other: Counter[Any]) -> float:
    """p-value of Pearson's chi-square test that two samples have one distribution; 1 if either is empty.

    Categories expected fewer than five times in a sample are merged into one.
    """
    table = np.array([(one[key], other[key]) for key in {**one, **other}], dtype=np.float64).reshape(-1, 2)
    sizes = table.sum(axis=0)
    if not sizes.all():
        return 1.0
    rare = (_expected(table) < _LEAST_EXPECTED).any(axis=1)
    if rare.any():
        table = np.vstack([table[~rare], table[rare].sum(axis=0)])
    expected = _expected(table)
    statistic = ((table - expected) ** 2 / expected).sum()
    return float(chdtrc(len(table) - 1, statistic)) if len(table) > 1 else 1.0


def _expected(table: np.ndarray) -> np.ndarray:
    return np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()


def differences(one: Counts, other: Counts) -> dict[frozenset[str], float]:
    """Answer → its share in `one` minus that in `other`."""
    sizes = max(one.total(), 1), max(other.total(), 1)
    return {key: one[key] / sizes[0] - other[key] / sizes[1] for key in {**one, **other}}


def distance(one: Counts, other: Counts) -> float:
    """Total variation distance: the share of answers that would have to change, 0 to 1."""
    return sum(map(abs, differences(one, other).values())) / 2
