"""Blends: mixtures of the models' probabilities, in shares that validation images choose (stacking; Wolpert 1992).

Shares minimise the quadratic score (Brier 1950), which is proper: it is best where probabilities are true. Unlike
right and wrong it tells by how much, so few images suffice: between draws of 48 out of 480 real images, the share of
an expert varied by 0.1. One set of shares serves all questions that the same models answer.

n pairs of image and question, m models, a answers of a pair; in `opinions` the right answer comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from imageclef_vqa.editions import Candidate, as_set

Numbers = NDArray[np.float64]
Ranking = Sequence[Candidate]
_CANDIDATES = 5
_SUM_TO_ONE = 1e3  # how dearly the solver pays for shares that do not add up to 1
_NEGLIGIBLE = 0.005


def opinions(rankings: Sequence[Sequence[Ranking]], gold: Sequence[Sequence[str]]) -> Numbers:
    """Probabilities [n, m, a] from each pair's rankings [n][m]; column 0 is the gold answer, others as they come."""
    numbered = []
    for models, right in zip(rankings, gold, strict=True):
        places = {as_set(right): 0}
        for ranking in models:
            for candidate in ranking:
                places.setdefault(as_set(candidate.answers), len(places))
        numbered.append(places)
    table = np.zeros((len(rankings), len(rankings[0]), max(map(len, numbered))))
    for row, models, places in zip(table, rankings, numbered, strict=True):
        for column, ranking in zip(row, models, strict=True):
            for candidate, share in zip(ranking, _normalised(ranking), strict=True):
                column[places[as_set(candidate.answers)]] += share
    return table


def misses(table: Numbers) -> Numbers:
    """[n, m, m] with which a mixture's quadratic score is shares · miss · shares: 0 is sure and right, 2 sure and
    wrong."""
    errors = table.copy()
    errors[:, :, 0] -= 1
    return np.einsum("nia,nja->nij", errors, errors)


def best_shares(miss: Numbers) -> Numbers:
    """Shares [m], none negative, summing to 1, of the least mean quadratic score over `miss` [n, m, m]."""
    values, vectors = np.linalg.eigh(miss.mean(axis=0))
    root = np.sqrt(values.clip(0))[:, None] * vectors.T  # root.T · root is the mean again
    models = len(values)
    target = np.append(np.zeros(models), _SUM_TO_ONE)
    shares = nnls(np.vstack([root, np.full((1, models), _SUM_TO_ONE)]), target)[0]
    shares[shares < _NEGLIGIBLE] = 0.0
    return np.asarray(shares / shares.sum())


def scores(miss: Numbers, shares: Numbers) -> Numbers:
    """Quadratic scores [n] of the mixture."""
    return np.einsum("i,nij,j->n", shares, miss, shares)


def right(table: Numbers, shares: Numbers) -> NDArray[np.bool_]:
    """Whether the mixture's likeliest answer is the gold one [n]; a tie is no right answer."""
    mixed = np.einsum("i,nia->na", shares, table)
    return np.asarray(mixed[:, 0] > mixed[:, 1:].max(axis=1, initial=0.0))


def mix(rankings: Mapping[str, Ranking], shares: Mapping[str, float]) -> tuple[Candidate, ...]:
    """The likeliest answers of the mixture, best first; what a model does not list has no probability with it."""
    total: dict[frozenset[str], tuple[tuple[str, ...], float]] = {}
    for name, share in shares.items():
        for candidate, probability in zip(rankings[name], _normalised(rankings[name]), strict=True):
            answers, before = total.get(as_set(candidate.answers), (candidate.answers, 0.0))
            total[as_set(candidate.answers)] = (answers, before + share * probability)
    ranked = sorted(total.values(), key=lambda entry: -entry[1])[:_CANDIDATES]
    return tuple(Candidate(answers=answers, probability=min(1.0, probability)) for answers, probability in ranked)


def _normalised(ranking: Ranking) -> list[float]:
    """What is not listed is shared out among what is: lists differ in how far they reach down."""
    total = sum(candidate.probability for candidate in ranking)
    return [candidate.probability / total if total > 0 else 1 / len(ranking) for candidate in ranking]
