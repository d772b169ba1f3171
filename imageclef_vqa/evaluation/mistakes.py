"""Which mistakes are made: the most frequent ones of each question, and the surest ones of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from imageclef_vqa.evaluation.metrics import Answers, PairAnswers
from imageclef_vqa.task import as_set, same_answer


@dataclass(frozen=True)
class Confusion:
    """`count` images of one question whose gold answer is `gold` and that were answered by `given`, both sorted."""

    question_id: int
    gold: Answers
    given: Answers
    count: int


@dataclass(frozen=True)
class Mistake:
    """One wrong answer, and how sure the model was of it (0 to 1)."""

    image_id: str
    question_id: int
    gold: Answers
    given: Answers
    probability: float


def frequent_confusions(given: PairAnswers, gold: PairAnswers, per_question: int = 5) -> dict[int, list[Confusion]]:
    """The commonest mistakes of each question that has any, by question id; a missing answer is `()`."""
    counts: dict[int, Counter[tuple[Answers, Answers]]] = {}
    for pair, answers in gold.items():
        if not same_answer(mine := given.get(pair, ()), answers):
            counts.setdefault(pair[1], Counter())[tuple(sorted(as_set(answers))), tuple(sorted(as_set(mine)))] += 1
    return {
        question_id: [
            Confusion(question_id, *both, count)
            for both, count in sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:per_question]
        ]
        for question_id, counter in sorted(counts.items())
    }


def surest_mistakes(
    given: PairAnswers, gold: PairAnswers, probabilities: Mapping[tuple[str, int], float], most: int = 24
) -> list[Mistake]:
    """The wrong answers that were given with the highest probability, at most one per image."""
    wrong = [
        Mistake(*pair, tuple(answers), tuple(given[pair]), probabilities[pair])
        for pair, answers in gold.items()
        if pair in given and pair in probabilities and not same_answer(given[pair], answers)
    ]
    wrong.sort(key=lambda mistake: (-mistake.probability, mistake.image_id, mistake.question_id))
    first = {mistake.image_id: mistake for mistake in reversed(wrong)}
    return [mistake for mistake in wrong if first[mistake.image_id] is mistake][:most]
