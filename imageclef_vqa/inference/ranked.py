"""Ranked answers to one pair of image and question, with their probabilities.

A list may end before the probabilities add up to 1: no answer outside the list is likelier than one in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from imageclef_vqa.editions import as_set
from imageclef_vqa.editions.rankings import Answers, Ranked, pool

Optimise = Literal["exact", "f1"]


def mean(lists: Sequence[Ranked]) -> Ranked:
    """The mean of several models' probabilities (a linear pool); an answer that a model does not list has 0 there."""
    return pool(lists, [1 / len(lists)] * len(lists))


def members(ranked: Ranked) -> dict[str, float]:
    """The probability that the answer contains a member, for each member; the listed answers are normalised to 1."""
    listed = sum(probability for _, probability in ranked)
    total: dict[str, float] = {}
    for answers, probability in ranked:
        for member in answers:
            total[member] = total.get(member, 0.0) + probability / listed
    return {member: min(1.0, total[member]) for member in sorted(total, key=lambda member: (-total[member], member))}


def best(ranked: Ranked, optimise: Optimise) -> tuple[Answers, float]:
    """The listed answer with the highest expected score, and its probability.

    The expected exact match of a set is its probability; its expected F1 also counts the members that it shares with
    other likely sets.
    """
    if optimise == "exact":
        return ranked[0]
    sets = [as_set(answers) for answers, _ in ranked]

    def expected_f1(index: int) -> float:
        mine = sets[index]
        return sum(
            p * 2 * len(mine & other) / (len(mine) + len(other)) for other, (_, p) in zip(sets, ranked, strict=True)
        )

    return ranked[max(range(len(ranked)), key=expected_f1)]
