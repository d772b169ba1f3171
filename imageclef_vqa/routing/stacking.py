"""The blend: a mixture of the models' probabilities, with shares fitted to validation images (stacking, Wolpert 1992).

The shares minimise the quadratic score (Brier 1950), which is lowest where the probabilities are true. It varies less
between samples than accuracy does, so few images are enough. All questions that the same models answer have the same
shares.

n pairs of image and question, m models, a answers of a pair; the gold answer comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from imageclef_vqa.editions import Candidate, as_set
from imageclef_vqa.editions.rankings import pool

Numbers = NDArray[np.float64]
Ranking = Sequence[Candidate]  # the likeliest answer first
_CANDIDATES = 5
_SUM_PENALTY = 1e3  # weight of the equation that the shares add up to 1
_NEGLIGIBLE = 0.005


def probability_table(rankings: Sequence[Sequence[Ranking]], gold: Sequence[Sequence[str]]) -> Numbers:
    """Probabilities [n, m, a] from each pair's rankings [n][m]; column 0 is the gold answer."""
    columns = []
    for models, right in zip(rankings, gold, strict=True):
        column_of = {as_set(right): 0}
        for ranking in models:
            for candidate in ranking:
                column_of.setdefault(as_set(candidate.answers), len(column_of))
        columns.append(column_of)
    table = np.zeros((len(rankings), len(rankings[0]), max(map(len, columns))))
    for row, models, column_of in zip(table, rankings, columns, strict=True):
        for cells, ranking in zip(row, models, strict=True):
            for candidate, probability in zip(ranking, _normalised(ranking), strict=True):
                cells[column_of[as_set(candidate.answers)]] += probability
    return table


def error_products(table: Numbers) -> Numbers:
    """Products [n, m, m] of the models' errors: the quadratic score of a mixture is shares · products · shares.

    A score of 0 is a certain right answer, 2 a certain wrong one.
    """
    errors = table.copy()
    errors[:, :, 0] -= 1
    return np.einsum("nia,nja->nij", errors, errors)


def best_shares(products: Numbers) -> Numbers:
    """The shares [m], none negative, of sum 1, with the lowest mean quadratic score over `products` [n, m, m]."""
    values, vectors = np.linalg.eigh(products.mean(axis=0))
    root = np.sqrt(values.clip(0))[:, None] * vectors.T  # root.T @ root is the mean
    models = len(values)
    target = np.append(np.zeros(models), _SUM_PENALTY)
    shares = nnls(np.vstack([root, np.full((1, models), _SUM_PENALTY)]), target)[0]
    shares[shares < _NEGLIGIBLE] = 0.0
    return np.asarray(shares / shares.sum())


def quadratic_scores(products: Numbers, shares: Numbers) -> Numbers:
    """The mixture's quadratic scores [n]."""
    return np.einsum("i,nij,j->n", shares, products, shares)


def mixture_is_right(table: Numbers, shares: Numbers) -> NDArray[np.bool_]:
    """Whether the gold answer is the mixture's only likeliest one [n]."""
    mixed = np.einsum("i,nia->na", shares, table)
    return np.asarray(mixed[:, 0] > mixed[:, 1:].max(axis=1, initial=0.0))


def mix(rankings: Mapping[str, Ranking], shares: Mapping[str, float]) -> tuple[Candidate, ...]:
    """The mixture's likeliest answers, best first; an answer that a model does not list has probability 0 there."""
    listed = [
        [(candidate.answers, p) for candidate, p in zip(rankings[name], _normalised(rankings[name]), strict=True)]
        for name in shares
    ]
    pooled = pool(listed, list(shares.values()))[:_CANDIDATES]
    return tuple(Candidate(answers=answers, probability=min(1.0, probability)) for answers, probability in pooled)


def _normalised(ranking: Ranking) -> list[float]:
    """Probabilities of sum 1, because the models list different numbers of answers."""
    total = sum(candidate.probability for candidate in ranking)
    return [candidate.probability / total if total > 0 else 1 / len(ranking) for candidate in ranking]
