"""The allowed answers to one question as an automaton over the tokenizer's tokens.

An answer is a list of members in canonical order, with separators between them and an end token. A member may be
followed by the end, or by a later member that training has seen together with all members before it. So no member is
repeated, "Not relevant" is never combined, and a question that training answers with one string gets one string. Where
training cut answers to a number of tokens, no answer is longer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from imageclef_vqa.editions import QuestionVocabulary
from imageclef_vqa.models.language import Tokenizer


class Parse(NamedTuple):
    """One way to parse the tokens so far: complete members, and the tokens after them (separator included)."""

    members: tuple[int, ...] = ()
    spelling: tuple[int, ...] = ()


# A state has several parses where one member's spelling is the beginning of another's ("Pink", "Pink/Red").
State = frozenset[Parse]
START: State = frozenset([Parse()])


class Grammar:
    """From a state, the allowed tokens and the state after each; the end token leads to the empty state."""

    def __init__(self, vocabulary: QuestionVocabulary, tokenizer: Tokenizer, longest: int = 0) -> None:
        """Answers of several members have at most `longest` tokens, the end included; 0: no limit."""
        self._longest = longest
        self._names = vocabulary.members
        self._spellings = [tuple(tokenizer.encode(name)) for name in self._names]
        self._separator = tuple(tokenizer.separator)
        self._end = tokenizer.end
        self.size = len(self._names)
        self.tokens = {self._end, *self._separator, *chain.from_iterable(self._spellings)}
        index = {name: i for i, name in enumerate(self._names)}
        companions = vocabulary.companions
        self._companions = [frozenset(index[other] for other in companions[name]) for name in self._names]
        self._following: dict[State, dict[int, State]] = {}

    def following(self, state: State) -> dict[int, State]:
        """Token → the state after it; empty only after the end."""
        if state not in self._following:
            reached: defaultdict[int, set[Parse]] = defaultdict(set)
            for parse in state:
                for token, after in self._steps(parse):
                    reached[token] |= after
            self._following[state] = {token: frozenset(parses) for token, parses in sorted(reached.items())}
        return self._following[state]

    def answers(self, prefix: tuple[int, ...] = ()) -> Iterator[tuple[str, ...]]:
        """Every allowed answer that starts with the members `prefix` (indices)."""
        for member in self._next_members(prefix):
            members = (*prefix, member)
            yield tuple(self._names[each] for each in members)
            yield from self.answers(members)

    def answer(self, state: State) -> tuple[str, ...]:
        """The answer that ends in this state."""
        members = min(parse.members for parse in state if not parse.spelling)
        return tuple(self._names[member] for member in members)

    def _steps(self, parse: Parse) -> list[tuple[int, set[Parse]]]:
        steps: list[tuple[int, set[Parse]]] = []
        if parse.members and not parse.spelling:
            steps.append((self._end, set()))
        length = len(parse.spelling)
        for member in self._next_members(parse.members):
            whole = (self._separator if parse.members else ()) + self._spellings[member]
            if len(whole) > length and whole[:length] == parse.spelling:
                done = len(whole) == length + 1
                after = Parse((*parse.members, member)) if done else Parse(parse.members, whole[: length + 1])
                steps.append((whole[length], {after}))
        return steps

    def _next_members(self, members: tuple[int, ...]) -> list[int]:
        first = members[-1] + 1 if members else 0
        return [
            member
            for member in range(first, len(self._names))
            if all(member in self._companions[other] for other in members) and self._fits((*members, member))
        ]

    def _fits(self, members: tuple[int, ...]) -> bool:
        if not self._longest or len(members) == 1:
            return True
        tokens = sum(len(self._spellings[member]) for member in members)
        return tokens + len(self._separator) * (len(members) - 1) + 1 <= self._longest
