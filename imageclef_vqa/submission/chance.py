"""How likely chance alone is: the tests behind the checks of distributions."""

from __future__ import annotations

from collections import Counter
from math import erfc, exp, lgamma, log, sqrt

Counts = Counter[frozenset[str]]  # answer → how often it was given
_LEAST_EXPECTED = 5.0  # Cochran's rule: rarer categories are counted together


def homogeneity(one: Counts, other: Counts) -> float:
    """The p-value of Pearson's chi-square test that two samples have one distribution; 1 where nothing can be said.

    Categories expected fewer than five times in a sample are counted as one.
    """
    sizes = one.total(), other.total()
    if min(sizes) == 0:
        return 1.0
    rows: list[tuple[int, int]] = []
    rare = [0, 0]
    for category in {**one, **other}:
        pair = one[category], other[category]
        if sum(pair) * min(sizes) / sum(sizes) < _LEAST_EXPECTED:
            rare = [rare[0] + pair[0], rare[1] + pair[1]]
        else:
            rows.append(pair)
    if sum(rare):
        rows.append((rare[0], rare[1]))
    statistic = 0.0
    for row in rows:
        for count, size in zip(row, sizes, strict=True):
            expected = sum(row) * size / sum(sizes)
            statistic += (count - expected) ** 2 / expected
    return chi_square_tail(statistic, len(rows) - 1)


def chi_square_tail(statistic: float, degrees: int) -> float:
    """The probability of a chi-square variable beyond `statistic` (Abramowitz and Stegun 26.4.4 and 26.4.5)."""
    if degrees < 1 or statistic <= 0:
        return 1.0
    half = statistic / 2
    if degrees % 2:
        tail = erfc(sqrt(half))
        powers = [index + 0.5 for index in range(degrees // 2)]
    else:
        tail = exp(-half)
        powers = [float(index) for index in range(1, degrees // 2)]
    return min(1.0, tail + sum(exp(power * log(half) - half - lgamma(power + 1)) for power in powers))


def shares(counts: Counts) -> dict[frozenset[str], float]:
    """Category → share of all."""
    total = counts.total()
    return {category: count / total for category, count in counts.items()}


def distance(one: Counts, other: Counts) -> float:
    """Total variation between two samples: the share of answers that would have to change, 0 to 1."""
    mine, theirs = shares(one), shares(other)
    return sum(abs(mine.get(key, 0) - theirs.get(key, 0)) for key in {**mine, **theirs}) / 2


def furthest(one: Counts, other: Counts) -> list[frozenset[str]]:
    """Categories, the one whose shares differ most first."""
    mine, theirs = shares(one), shares(other)
    return sorted({**mine, **theirs}, key=lambda key: -abs(mine.get(key, 0) - theirs.get(key, 0)))
