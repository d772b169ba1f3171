"""What may be said, token by token: the answers to one question as an automaton over the tokenizer's pieces.

An answer is members in canonical order with separators between and an end. After a member come the end, or another
member that stands later in the order and was seen in training together with all before it: so no member is repeated,
"Not relevant" stays alone, and a question that training answers with one string gets one string. Where training kept
answers short, no member follows that would make one longer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from imageclef_vqa.editions import QuestionVocabulary
from imageclef_vqa.models.language import Tokenizer


class Reading(NamedTuple):
    """One way to understand what was said: members complete, and the tokens since (separator included)."""

    members: tuple[int, ...] = ()
    spelling: tuple[int, ...] = ()


# Several readings at once, where one member's spelling begins another's ("Pink", "Pink/Red").
State = frozenset[Reading]
START: State = frozenset([Reading()])


class Grammar:
    """From a state, the tokens that may follow and the state after each; the end leads to the empty state."""

    def __init__(self, vocabulary: QuestionVocabulary, tokenizer: Tokenizer, longest: int = 0) -> None:
        """Answers of several members have at most `longest` tokens, the end included; 0: any number."""
        self._longest = longest
        self._names = vocabulary.members
        self._spellings = [tuple(tokenizer.encode(name)) for name in self._names]
        self._separator = tuple(tokenizer.separator)
        self._end = tokenizer.end
        self.size = len(self._names)
        self.tokens = {self._end, *self._separator, *chain.from_iterable(self._spellings)}
        place = {name: index for index, name in enumerate(self._names)}
        companions = vocabulary.companions
        self._companions = [frozenset(place[other] for other in companions[name]) for name in self._names]
        self._known: dict[State, dict[int, State]] = {}

    def following(self, state: State) -> dict[int, State]:
        """Token → the state after it; never empty, but after the end."""
        if state not in self._known:
            reached: defaultdict[int, set[Reading]] = defaultdict(set)
            for reading in state:
                for token, after in self._steps(reading):
                    reached[token] |= after
            self._known[state] = {token: frozenset(readings) for token, readings in sorted(reached.items())}
        return self._known[state]

    def answers(self, begun: tuple[int, ...] = ()) -> Iterator[tuple[str, ...]]:
        """Every answer that may be said, those that begin with `begun` (places in the order of members)."""
        for member in self._next_members(begun):
            members = (*begun, member)
            yield tuple(self._names[each] for each in members)
            yield from self.answers(members)

    def said(self, state: State) -> tuple[str, ...]:
        """The answer, if it may end in this state."""
        members = min(reading.members for reading in state if not reading.spelling)
        return tuple(self._names[member] for member in members)

    def _steps(self, reading: Reading) -> list[tuple[int, set[Reading]]]:
        steps: list[tuple[int, set[Reading]]] = []
        if reading.members and not reading.spelling:
            steps.append((self._end, set()))
        said = len(reading.spelling)
        for member in self._next_members(reading.members):
            whole = (self._separator if reading.members else ()) + self._spellings[member]
            if len(whole) > said and whole[:said] == reading.spelling:
                done = len(whole) == said + 1
                after = Reading((*reading.members, member)) if done else Reading(reading.members, whole[: said + 1])
                steps.append((whole[said], {after}))
        return steps

    def _next_members(self, members: tuple[int, ...]) -> list[int]:
        first = members[-1] + 1 if members else 0
        return [
            member
            for member in range(first, len(self._names))
            if all(member in self._companions[said] for said in members) and self._fits((*members, member))
        ]

    def _fits(self, members: tuple[int, ...]) -> bool:
        if not self._longest or len(members) == 1:
            return True
        spoken = sum(len(self._spellings[member]) for member in members)
        return spoken + len(self._separator) * (len(members) - 1) + 1 <= self._longest
