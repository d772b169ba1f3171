"""What the form of the answers costs: pairs that are right in substance and lost by how they are written.

The paper's entry fell from about 0.82 to 0.74 because two questions were answered by one string where a set is scored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import groupby

from pydantic import BaseModel, ConfigDict

from imageclef_vqa.evaluation.metrics import Answers, forms, members

CASE, SPELLING, JOINED, SINGLE = (
    "differs in case alone",
    "differs in spelling alone",
    "several answers in one string",
    "one answer where a set is scored",
)
# Below this share of sets among the gold answers, one answer each is a policy, not an oversight.
_SETS_MATTER = 0.1
_LONGEST = 200
_SEPARATORS = re.compile(r"[;,\n]|\band\b")


class FormCost(BaseModel):
    """Accuracy of one question that one fault of form takes away, at most (`points`, 0 to 1), with an example."""

    model_config = ConfigDict(frozen=True)

    question_id: int
    reason: str
    pairs: int
    points: float
    given: Answers
    gold: Answers


@lru_cache(maxsize=1 << 12)
def _spelling_key(answer: str) -> str:
    """Equal for strings that differ in case, blanks, hyphens, quotes or the order of a word's letters: `Lower-rigth`.

    Digits keep their order, and `<` and `>` count: sizes differ in nothing else.
    """
    letters = [sign for sign in answer.casefold()[:_LONGEST] if sign.isalnum() or sign in "<>"]
    return "".join("".join(sorted(run) if alpha else run) for alpha, run in groupby(letters, key=str.isalpha))


@lru_cache(maxsize=1 << 12)
def _keys(answers: Answers) -> frozenset[str]:
    return frozenset(_spelling_key(answer) for answer in answers)


@lru_cache(maxsize=1 << 12)
def _split_keys(answers: Answers) -> frozenset[str]:
    parts = (part for answer in answers for part in _SEPARATORS.split(answer.casefold()[: 10 * _LONGEST]))
    return frozenset(key for part in parts if (key := _spelling_key(part)))


def _fault(given: Answers, gold: Answers, singles: bool) -> str | None:
    (_, one, folded), (_, other, folded_gold) = forms(given), forms(gold)
    if not one or one == other:
        return None
    if folded == folded_gold:
        return CASE
    keys = _keys(gold)
    if _keys(given) == keys:
        return SPELLING
    if _split_keys(given) == keys:
        return JOINED
    if singles and _keys(given) < keys:
        return SINGLE
    return None


def form_costs(question_id: int, counts: Mapping[tuple[Answers, Answers], int]) -> list[FormCost]:
    """The faults of form among the (given, gold) pairs of one question, the dearest first; `counts`, how often each is.

    That one answer is given where gold has several counts only if the question is never answered by more than one.
    """
    total = sum(counts.values())
    sets = sum(count for (_, gold), count in counts.items() if len(members(gold)) > 1)
    singles = sets >= _SETS_MATTER * total and all(len(_split_keys(given)) <= 1 for given, _ in counts)
    found: dict[str, list[tuple[Answers, Answers]]] = {reason: [] for reason in (CASE, SPELLING, JOINED, SINGLE)}
    for given, gold in counts:
        if (fault := _fault(given, gold, singles)) is not None:
            found[fault].append((given, gold))
    costs = []
    for reason, lost in found.items():
        if lost:
            pairs = sum(counts[couple] for couple in lost)
            given, gold = lost[0]
            costs.append(
                FormCost(
                    question_id=question_id,
                    reason=reason,
                    pairs=pairs,
                    points=round(pairs / total, 6),
                    given=given,
                    gold=gold,
                )
            )
    return sorted(costs, key=lambda cost: -cost.pairs)
