"""Answers to different questions about one image that keep rules learnt from the training labels.

If the answers to an image break a rule, they are replaced by the likeliest joint answer that breaks none, among the
candidates of all its questions. The rules are near-certain implications (`editions.implications`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from imageclef_vqa.editions import Implication, contradictions
from imageclef_vqa.inference.ranked import Answers, Ranked

_MAX_NODES = 20_000  # of the search for a joint answer


class Consistency:
    """Finds joint answers that keep the rules between questions."""

    def __init__(self, rules: Iterable[Implication]) -> None:
        self._between: dict[frozenset[int], list[Implication]] = {}
        for rule in rules:
            self._between.setdefault(frozenset((rule.question, rule.then_question)), []).append(rule)
        self._clash = lru_cache(maxsize=1 << 18)(self._contradict)

    def holds(self, answers: Sequence[Answers]) -> bool:
        """Whether the answers [question] to an image break no rule."""
        return not any(self._clash(a, answers[a], b, answers[b]) for a, b in map(sorted, self._between))

    def repair(self, answers: Sequence[Answers], candidates: Sequence[Ranked]) -> list[Answers]:
        """`answers` [question] if they break no rule, else the likeliest combination of `candidates` [question] that
        breaks none; `answers` if the search finds none.

        Branch and bound, depth first, from the question with the most certain answer to the least certain one.
        """
        if self.holds(answers):
            return list(answers)
        order = sorted(range(len(candidates)), key=lambda question: -candidates[question][0][1])
        costs = [[-math.log(max(p, 1e-12)) for _, p in candidates[question]] for question in order]
        rest = [sum(cost[0] for cost in costs[depth:]) for depth in range(len(order) + 1)]
        least, found, nodes = math.inf, list(answers), 0
        chosen: list[Answers] = []

        def descend(depth: int, cost: float) -> None:
            nonlocal least, found, nodes
            if depth == len(order):
                joint = dict(zip(order, chosen, strict=True))
                least, found = cost, [joint[question] for question in range(len(order))]
                return
            for (given, _), more in zip(candidates[order[depth]], costs[depth], strict=True):
                if cost + more + rest[depth + 1] >= least or nodes >= _MAX_NODES:
                    return
                nodes += 1
                if not any(self._clash(*_ordered(order[i], chosen[i], order[depth], given)) for i in range(depth)):
                    chosen.append(given)
                    descend(depth + 1, cost + more)
                    chosen.pop()

        descend(0, 0.0)
        return found

    def _contradict(self, one: int, answer: Answers, other: int, with_answer: Answers) -> bool:
        rules = self._between.get(frozenset((one, other)), ())
        return bool(rules) and bool(contradictions({one: answer, other: with_answer}, rules))


def _ordered(one: int, answer: Answers, other: int, with_answer: Answers) -> tuple[int, Answers, int, Answers]:
    return (one, answer, other, with_answer) if one < other else (other, with_answer, one, answer)
