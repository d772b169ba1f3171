"""Which mistakes are made: what is taken for what, and which members of a set are missed or made up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.evaluation.metrics import Answers, PairAnswers, members


@dataclass(frozen=True)
class Confusion:
    """`counts[gold, given]` of one question over `classes`, sets by frequency; `()` is no answer.

    `others` classes, the rarest, are counted as one, which stands last; 0 where all are there.
    """

    question_id: int
    classes: tuple[Answers, ...]
    counts: tuple[tuple[int, ...], ...]
    others: int


@dataclass(frozen=True)
class MemberScore:
    """How one member of a question's sets is found: it is in `gold` answers, in `given` ones, in `both` of a pair."""

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
    place = {answers: at for at, answers in enumerate(shown)}
    size = len(shown) + bool(others)
    counts = [[0] * size for _ in range(size)]
    for (gold, given), count in pairs.items():
        counts[place.get(gold, size - 1)][place.get(given, size - 1)] += count
    return Confusion(question_id, tuple(shown), tuple(map(tuple, counts)), others)


def member_scores(given: PairAnswers, gold: PairAnswers) -> dict[int, list[MemberScore]]:
    """For each question whose gold answers are ever sets of several, its members, the most frequent first."""
    seen: dict[int, tuple[Counter[str], Counter[str], Counter[str]]] = {}
    several = {question_id for (_, question_id), answers in gold.items() if len(members(answers)) > 1}
    for pair, answers in gold.items():
        if pair[1] in several:
            mine, theirs = members(given.get(pair, ())), members(answers)
            for counter, found in zip(
                seen.setdefault(pair[1], (Counter(), Counter(), Counter())), (theirs, mine, mine & theirs), strict=True
            ):
                counter.update(found)
    return {
        question_id: [
            MemberScore(member, golds[member], givens[member], both[member])
            for member in sorted({*golds, *givens}, key=lambda member: (-golds[member], -givens[member], member))
        ]
        for question_id, (golds, givens, both) in sorted(seen.items())
    }


def canonical(question_id: int, answers: Answers) -> Answers:
    """A set in the order of the question bank, then of the alphabet, for people to read."""
    order = {member: at for at, member in enumerate(QUESTIONS[question_id].known)}
    return tuple(sorted(members(answers), key=lambda member: (order.get(member, len(order)), member)))
