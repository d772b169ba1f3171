"""Formatting loss: pairs that are right in content and score as wrong because of how the answer is written.

The paper's entry fell from about 0.82 to 0.74 because two questions were answered with one string where a set is
scored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import groupby

from pydantic import BaseModel, ConfigDict

from imageclef_vqa.evaluation.metrics import Answers, forms, members

CASE, SPELLING, JOINED, SINGLE = (
    "differs only in case",
    "differs only in spelling",
    "several answers in one string",
    "one answer where a set is scored",
)
# If fewer of the gold answers are sets, giving one answer is a reasonable policy.
_LEAST_SHARE_OF_SETS = 0.1
_LONGEST = 200  # characters
_SEPARATORS = re.compile(r"[;,\n]|\band\b")


class FormattingLoss(BaseModel):
    """Accuracy of one question lost to one fault of formatting, at most (`points`, 0 to 1), with an example."""

    model_config = ConfigDict(frozen=True)

    question_id: int
    reason: str
    pairs: int
    points: float
    given: Answers
    gold: Answers


def formatting_losses(question_id: int, counts: Mapping[tuple[Answers, Answers], int]) -> list[FormattingLoss]:
    """The formatting faults among the pairs of one question, the largest loss first.

    `counts` is the number of pairs by (given, gold). A single answer where gold has several is a fault only if the
    question is never answered with more than one.
    """
    total = sum(counts.values())
    sets = sum(count for (_, gold), count in counts.items() if len(members(gold)) > 1)
    singles = sets >= _LEAST_SHARE_OF_SETS * total and all(len(_split_keys(given)) <= 1 for given, _ in counts)
    found: dict[str, list[tuple[Answers, Answers]]] = {reason: [] for reason in (CASE, SPELLING, JOINED, SINGLE)}
    for given, gold in counts:
        if (fault := _fault(given, gold, singles)) is not None:
            found[fault].append((given, gold))
    losses = []
    for reason, lost in found.items():
        if lost:
            pairs, (given, gold) = sum(counts[each] for each in lost), lost[0]
            points = round(pairs / total, 6)
            losses.append(
                FormattingLoss(
                    question_id=question_id, reason=reason, pairs=pairs, points=points, given=given, gold=gold
                )
            )
    return sorted(losses, key=lambda loss: -loss.pairs)


def _fault(given: Answers, gold: Answers, singles: bool) -> str | None:
    (_, own, folded), (_, own_gold, folded_gold) = forms(given), forms(gold)
    if not own or own == own_gold:
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


@lru_cache(maxsize=1 << 12)
def _spelling_key(answer: str) -> str:
    """Equal for strings that differ in case, blanks, hyphens, quotes or the order of letters (`Lower-rigth`).

    The order of digits and the signs `<` and `>` count: they are all that differs between polyp sizes.
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
