"""Rankings: answers to one pair of image and question with their probabilities, the likeliest first.

A ranking may be cut off before the probabilities add up to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imageclef_vqa.editions.answers import as_set

Answers = tuple[str, ...]
Ranked = tuple[tuple[Answers, float], ...]


def rank(probabilities: Mapping[Answers, float]) -> Ranked:
    """Answers by falling probability, equal ones in alphabetical order."""
    return tuple(sorted(probabilities.items(), key=lambda item: (-item[1], item[0])))


def pool(rankings: Sequence[Sequence[tuple[Answers, float]]], shares: Sequence[float]) -> Ranked:
    """The mixture of several rankings (a linear pool), in the first ranking's spelling of each set.

    An answer that a ranking does not list has probability 0 there.
    """
    spelling: dict[frozenset[str], Answers] = {}
    total: dict[Answers, float] = {}
    for ranking, share in zip(rankings, shares, strict=True):
        for answers, probability in ranking:
            answers = spelling.setdefault(as_set(answers), answers)
            total[answers] = total.get(answers, 0.0) + share * probability
    return rank(total)
