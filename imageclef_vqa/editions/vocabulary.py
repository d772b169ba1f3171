"""The closed vocabulary: for each question, the strings and the sets that occur in the training labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations

from pydantic import BaseModel, ConfigDict, Field

from imageclef_vqa.editions.answers import as_set
from imageclef_vqa.editions.questions import QUESTIONS, Question

Answers = tuple[str, ...]


class QuestionVocabulary(BaseModel):
    """The vocabulary of one question.

    Attributes:
        members: strings in canonical order: that of the bank, then unknown strings by frequency in training.
        sets: every set of the training labels, in canonical order, with its count; the most frequent first.
        trained: false if the training labels never answer the question; `members` are then those of the bank.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question_id: int = Field(ge=0, lt=len(QUESTIONS))
    members: Answers = Field(min_length=1)
    sets: tuple[tuple[Answers, int], ...]
    trained: bool = True

    @property
    def majority(self) -> Answers:
        """The most frequent answer; without training answers, the first one of the bank."""
        return self.sets[0][0] if self.sets else self.members[:1]

    @property
    def takes_a_set(self) -> bool:
        """Whether any training answer has more than one member."""
        return any(len(members) > 1 for members, _ in self.sets)

    @property
    def companions(self) -> Mapping[str, frozenset[str]]:
        """For each member, the other members of the sets it occurs in; none for "Not relevant"."""
        together: dict[str, set[str]] = {member: set() for member in self.members}
        for members, _ in self.sets:
            for one, other in combinations(members, 2):
                together[one].add(other)
                together[other].add(one)
        return {member: frozenset(others) for member, others in together.items()}

    def canonical(self, answers: Iterable[str]) -> Answers:
        """The set in canonical order and spelling, without repetitions.

        Raises:
            KeyError: an answer is not in the vocabulary, ignoring case.
        """
        spelling = {member.casefold(): index for index, member in enumerate(self.members)}
        return tuple(
            self.members[index] for index in sorted({spelling[answer.casefold()] for answer in as_set(answers)})
        )


class Vocabulary(BaseModel):
    """The vocabularies of all questions, learnt from one set of training labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    questions: tuple[QuestionVocabulary, ...] = Field(min_length=len(QUESTIONS), max_length=len(QUESTIONS))

    def __getitem__(self, question_id: int) -> QuestionVocabulary:
        return self.questions[question_id]

    @property
    def untrained(self) -> tuple[int, ...]:
        """Ids of the questions that the training labels never answer."""
        return tuple(entry.question_id for entry in self.questions if not entry.trained)


def learn_vocabulary(labels: Iterable[tuple[int, Iterable[str]]]) -> Vocabulary:
    """The vocabulary of `labels`, pairs of question id and answers, one for each labelled image and question.

    Spellings are kept exactly; of two that differ only in case, the more frequent one is used for both. Empty strings
    are ignored. A question without any answer gets the known answers of the bank and is marked as untrained.
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
