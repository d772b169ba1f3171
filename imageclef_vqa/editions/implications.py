"""Implications between answers, learnt from the training labels.

If the answer is "no polyp", there is no size of a polyp: no document says so, but the labels show it. An implication
is kept if it nearly always holds *and* does so far more often than the frequency of its conclusion explains. A
question that nearly always has the same answer therefore gives no implications.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb

from imageclef_vqa.editions.answers import as_set

Answers = tuple[str, ...]
Image = Mapping[int, Sequence[str]]  # question id → answers

MIN_IMAGES = 20  # that the premise and the conclusion apply to
MIN_HELD = 0.99  # of these images
_SIGNIFICANCE = 0.01  # that any of the tried implications holds by chance (Bonferroni)


@dataclass(frozen=True)
class Implication:
    """If the answer to `question` has the member `answer`, the answer to `then_question` is the set `then_answer`.

    It applies to `seen` training images: those with the member that answer both questions. It holds in `held` of them.
    """

    question: int
    answer: str
    then_question: int
    then_answer: Answers
    held: int
    seen: int

    def applies(self, image: Image) -> bool:
        """Whether the image has the member and answers the other question."""
        return self.then_question in image and self.answer in as_set(image.get(self.question, ()))

    def contradicted_by(self, image: Image) -> bool:
        """Whether the implication applies to the answers of an image, but does not hold."""
        return self.applies(image) and as_set(image[self.then_question]) != frozenset(self.then_answer)

    def __str__(self) -> str:
        conclusion = "; ".join(self.then_answer)
        return (
            f"question {self.question} {self.answer!r} → question {self.then_question} {conclusion!r} "
            f"({self.held} of {self.seen})"
        )


def learn_implications(labels: Iterable[Image]) -> tuple[Implication, ...]:
    """The implications that hold in `labels`, the answers of each training image; the most reliable first.

    An implication is kept if it applies to at least `MIN_IMAGES` images, holds in the share `MIN_HELD` of them, and is
    significant: the binomial probability that it holds in so many images by the frequency of the conclusion, times the
    number of implications tried, is below 1%.
    """
    answered: defaultdict[int, set[int]] = defaultdict(set)  # question → images
    with_member: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
    with_set: defaultdict[tuple[int, frozenset[str]], set[int]] = defaultdict(set)
    for index, image in enumerate(labels):
        for question, answers in image.items():
            if members := as_set(answers) - {""}:
                answered[question].add(index)
                with_set[question, members].add(index)
                for member in members:
                    with_member[question, member].add(index)
    premises = {key: images for key, images in with_member.items() if len(images) >= MIN_IMAGES}
    conclusions = {key: images for key, images in with_set.items() if len(images) >= MIN_HELD * MIN_IMAGES}
    tried = sum(one[0] != other[0] for one in premises for other in conclusions)
    found = []
    for (question, answer), premise in premises.items():
        for (then_question, members), conclusion in conclusions.items():
            if question == then_question:
                continue
            seen, held = len(premise & answered[then_question]), len(premise & conclusion)
            if seen < MIN_IMAGES or held < MIN_HELD * seen:
                continue
            share = len(conclusion) / len(answered[then_question])
            if _at_least(held, seen, share) * tried < _SIGNIFICANCE:
                found.append(Implication(question, answer, then_question, tuple(sorted(members)), held, seen))
    return tuple(sorted(found, key=lambda rule: (-rule.held / rule.seen, -rule.seen, str(rule))))


def contradictions(image: Image, implications: Iterable[Implication]) -> list[Implication]:
    """The implications that the answers of one image contradict, in the order given."""
    return [rule for rule in implications if rule.contradicted_by(image)]


def _at_least(held: int, seen: int, share: float) -> float:
    """The binomial probability of at least `held` successes in `seen` draws, each with probability `share`."""
    return sum(comb(seen, k) * share**k * (1 - share) ** (seen - k) for k in range(held, seen + 1))
