"""Confusion matrices of the answers, and precision and recall of the members of sets."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.evaluation.metrics import Answers, PairAnswers, members


@dataclass(frozen=True)
class Confusion:
    """`counts[gold][given]` of one question over `classes`, which are sets in order of frequency; `()` is no answer.

    The `others` rarest classes are merged into one more row and column, the last; 0 if there are none. `wrong` is the
    number of wrong pairs, which includes confusions among the others.
    """

    question_id: int
    classes: tuple[Answers, ...]
    counts: tuple[tuple[int, ...], ...]
    others: int
    wrong: int


@dataclass(frozen=True)
class MemberScore:
    """How often one member of a question's sets is in `gold` answers, in `given` answers, and in `both` of a pair."""

    member: str
    gold: int
    given: int
    both: int

    @property
    def precision(self) -> float | None:
        return self.both / self.given if self.given else None

    @property
    def recall(self) -> float | None:
        return self.both / self.gold if self.gold else None


def confusions(given: PairAnswers, gold: PairAnswers, most: int = 10) -> list[Confusion]:
    """The confusion matrix of each question that has gold answers, over at most `most` classes and the others."""
    pairs: dict[int, Counter[tuple[Answers, Answers]]] = {}
    for pair, answers in gold.items():
        both = canonical(pair[1], answers), canonical(pair[1], given.get(pair, ()))
        pairs.setdefault(pair[1], Counter())[both] += 1
    return [_confusion(question_id, pairs[question_id], most) for question_id in sorted(pairs)]


def _confusion(question_id: int, pairs: Counter[tuple[Answers, Answers]], most: int) -> Confusion:
    frequency: Counter[Answers] = Counter()
    for (gold, given), count in pairs.items():
        frequency[gold] += count
        frequency[given] += 0 if given == gold else count
    ranked = sorted(frequency, key=lambda answers: (-frequency[answers], answers))
    shown = ranked if len(ranked) <= most + 1 else ranked[:most]
    others = len(ranked) - len(shown)
    index = {answers: at for at, answers in enumerate(shown)}
    size = len(shown) + bool(others)
    counts = [[0] * size for _ in range(size)]
    for (gold, given), count in pairs.items():
        counts[index.get(gold, size - 1)][index.get(given, size - 1)] += count
    wrong = sum(count for (gold, given), count in pairs.items() if gold != given)
    return Confusion(question_id, tuple(shown), tuple(map(tuple, counts)), others, wrong)


def member_scores(given: PairAnswers, gold: PairAnswers) -> dict[int, list[MemberScore]]:
    """The members of each question with a gold answer of several members, the most frequent first."""
    several = sorted({question_id for (_, question_id), answers in gold.items() if len(members(answers)) > 1})
    scores = {}
    for question_id in several:
        in_gold, in_given, in_both = Counter[str](), Counter[str](), Counter[str]()
        for pair, answers in gold.items():
            if pair[1] == question_id:
                own, own_gold = members(given.get(pair, ())), members(answers)
                in_gold.update(own_gold)
                in_given.update(own)
                in_both.update(own & own_gold)
        ranked = sorted({*in_gold, *in_given}, key=lambda member: (-in_gold[member], -in_given[member], member))
        scores[question_id] = [
            MemberScore(member, in_gold[member], in_given[member], in_both[member]) for member in ranked
        ]
    return scores


def canonical(question_id: int, answers: Answers) -> Answers:
    """The members of an answer in the order of the question bank, then alphabetically."""
    order = {member: at for at, member in enumerate(QUESTIONS[question_id].known)}
    return tuple(sorted(members(answers), key=lambda member: (order.get(member, len(order)), member)))
