"""What may be answered: per question, the strings and the sets that the training labels hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations

from pydantic import BaseModel, ConfigDict, Field

from imageclef_vqa.editions.answers import as_set
from imageclef_vqa.editions.questions import QUESTIONS, Question

Answers = tuple[str, ...]


class QuestionVocabulary(BaseModel):
    """The closed vocabulary of one question.

    `members` in canonical order: the bank's, then what the bank does not know, by frequency in training.
    `sets` holds each set seen, canonically ordered, with its count, the most frequent first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question_id: int = Field(ge=0, lt=len(QUESTIONS))
    members: Answers = Field(min_length=1)
    sets: tuple[tuple[Answers, int], ...]
    trained: bool = True

    @property
    def majority(self) -> Answers:
        """The most frequent answer; for a question without training answers, the bank's first."""
        return self.sets[0][0] if self.sets else self.members[:1]

    @property
    def takes_a_set(self) -> bool:
        """Whether training ever answers with more than one string."""
        return any(len(members) > 1 for members, _ in self.sets)

    @property
    def companions(self) -> Mapping[str, frozenset[str]]:
        """For each member, those that it was ever seen together with: "Not relevant" has none."""
        together: dict[str, set[str]] = {member: set() for member in self.members}
        for members, _ in self.sets:
            for one, other in combinations(members, 2):
                together[one].add(other)
                together[other].add(one)
        return {member: frozenset(others) for member, others in together.items()}

    def canonical(self, answers: Iterable[str]) -> Answers:
        """The set in canonical order and spelling, without repeats.

        Raises:
            KeyError: an answer is not in the vocabulary, in any case.
        """
        spelling = {member.casefold(): index for index, member in enumerate(self.members)}
        return tuple(
            self.members[index] for index in sorted({spelling[answer.casefold()] for answer in as_set(answers)})
        )


class Vocabulary(BaseModel):
    """The closed vocabulary of all questions, as learnt from one set of training labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    questions: tuple[QuestionVocabulary, ...] = Field(min_length=len(QUESTIONS), max_length=len(QUESTIONS))

    def __getitem__(self, question_id: int) -> QuestionVocabulary:
        return self.questions[question_id]

    @property
    def untrained(self) -> tuple[int, ...]:
        """Ids of the questions that the training labels never answer."""
        return tuple(entry.question_id for entry in self.questions if not entry.trained)


def learn_vocabulary(labels: Iterable[tuple[int, Iterable[str]]]) -> Vocabulary:
    """The vocabulary of `labels`, pairs of question id and answers, one per labelled image and question.

    Surface forms are kept exactly; where two differ in case alone, the more frequent one stands for both. Empty
    strings are no answer. A question without any answer gets the bank's known values and is marked untrained.
    """
    seen: list[list[frozenset[str]]] = [[] for _ in QUESTIONS]
    for question_id, answers in labels:
        if members := as_set(answers) - {""}:
            seen[question_id].append(members)
    return Vocabulary(questions=tuple(_learn(question, seen[question.id]) for question in QUESTIONS))


def _learn(question: Question, answers: list[frozenset[str]]) -> QuestionVocabulary:
    if not answers:
        return QuestionVocabulary(question_id=question.id, members=question.known, sets=(), trained=False)
    counts = Counter(member for members in answers for member in members)
    spelling: dict[str, str] = {}
    for member, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        spelling.setdefault(member.casefold(), member)
    folded = Counter[str]()
    for member, count in counts.items():
        folded[spelling[member.casefold()]] += count
    bank = {member.casefold(): index for index, member in enumerate(question.known)}
    members = sorted(folded, key=lambda member: (bank.get(member.casefold(), len(bank)), -folded[member], member))
    order = {member: index for index, member in enumerate(members)}
    sets = Counter(tuple(sorted({spelling[m.casefold()] for m in answer}, key=order.__getitem__)) for answer in answers)
    ranked = sorted(sets.items(), key=lambda item: (-item[1], item[0]))
    return QuestionVocabulary(question_id=question.id, members=tuple(members), sets=tuple(ranked))
