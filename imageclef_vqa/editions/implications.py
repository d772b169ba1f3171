"""What one answer says of another: implications that the training labels hold to almost without exception.

"No polyp" means that there is no polyp to measure; nobody wrote that down, but the labels show it. An implication is
kept if it is near-certain *and* far beyond what the frequency of its conclusion explains, so that a question nearly
always answered alike implies nothing by that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb

from imageclef_vqa.editions.answers import as_set

Answers = tuple[str, ...]
Image = Mapping[int, Sequence[str]]  # question id → answers

LEAST_SEEN = 20  # images; fewer show no rule
CERTAIN = 0.99
_CHANCE = 0.01  # that any rule at all of those tried is a chance one (Bonferroni)


@dataclass(frozen=True)
class Implication:
    """Where the answer to `question` names `answer`, that to `then_question` is the set `then_answer`.

    Both are answered in `seen` training images that name `answer`, and it holds in `held` of them.
    """

    question: int
    answer: str
    then_question: int
    then_answer: Answers
    held: int
    seen: int

    def applies(self, image: Image) -> bool:
        """Whether the image names the answer, and answers the other question too."""
        return self.then_question in image and self.answer in as_set(image.get(self.question, ()))

    def contradicted_by(self, image: Image) -> bool:
        """Whether the implication applies to the answers of one image and does not hold."""
        return self.applies(image) and as_set(image[self.then_question]) != frozenset(self.then_answer)

    def __str__(self) -> str:
        conclusion = "; ".join(self.then_answer)
        return (
            f"question {self.question} {self.answer!r} → question {self.then_question} {conclusion!r} "
            f"({self.held} of {self.seen})"
        )


def learn_implications(labels: Iterable[Image]) -> tuple[Implication, ...]:
    """The implications that `labels`, the answers of each training image, hold to; the surest first.

    One is kept where at least `LEAST_SEEN` images show it, at least `CERTAIN` of them hold to it, and the binomial
    probability that as many would by the conclusion's frequency alone, times the number of pairs tried, is below 1%.
    """
    answered: dict[int, int] = {}  # question → bits of the images that answer it
    named: dict[tuple[int, str], int] = {}
    given: dict[tuple[int, frozenset[str]], int] = {}
    for index, image in enumerate(labels):
        bit = 1 << index
        for question, answers in image.items():
            members = as_set(answers) - {""}
            if not members:
                continue
            answered[question] = answered.get(question, 0) | bit
            given[question, members] = given.get((question, members), 0) | bit
            for member in members:
                named[question, member] = named.get((question, member), 0) | bit
    reasons = {key: bits for key, bits in named.items() if bits.bit_count() >= LEAST_SEEN}
    conclusions = {key: bits for key, bits in given.items() if bits.bit_count() >= CERTAIN * LEAST_SEEN}
    tried = sum(one[0] != other[0] for one in reasons for other in conclusions)
    found = []
    for (question, answer), reason in reasons.items():
        for (then_question, members), conclusion in conclusions.items():
            if question == then_question:
                continue
            seen, held = (reason & answered[then_question]).bit_count(), (reason & conclusion).bit_count()
            if seen < LEAST_SEEN or held < CERTAIN * seen:
                continue
            share = conclusion.bit_count() / answered[then_question].bit_count()
            if _at_least(held, seen, share) * tried < _CHANCE:
                found.append(Implication(question, answer, then_question, tuple(sorted(members)), held, seen))
    return tuple(sorted(found, key=lambda rule: (-rule.held / rule.seen, -rule.seen, str(rule))))


def contradictions(image: Image, implications: Iterable[Implication]) -> list[Implication]:
    """The implications that the answers of one image contradict, in the order given."""
    return [rule for rule in implications if rule.contradicted_by(image)]


def _at_least(held: int, seen: int, share: float) -> float:
    """The probability that at least `held` of `seen` draws show what a `share` of all does."""
    return sum(comb(seen, k) * share**k * (1 - share) ** (seen - k) for k in range(held, seen + 1))
