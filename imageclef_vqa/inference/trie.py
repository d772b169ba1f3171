"""The grammars of all questions as one table of numbered states, so that many partial answers advance at once.

States are numbered when they are first reached: a question about locations has more than a thousand, most of which are
never reached. An answer is final as soon as only one continuation is allowed: the language model is not asked for the
rest of it.

k allowed tokens after a state, r rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from imageclef_vqa.inference.grammar import START, Grammar, State
from imageclef_vqa.inference.ranked import Answers

NOWHERE = -1
_MAX_COUNT = 1000


class Branches(NamedTuple):
    """The continuations of r states, [r, k] each.

    Each leads to a state or to a final answer, and the other one is NOWHERE; all three are NOWHERE in rows with fewer
    than k continuations.
    """

    tokens: np.ndarray  # indices into `Trie.tokens`
    states: np.ndarray
    answers: np.ndarray


class Trie:
    """One table for the grammars of several questions.

    Attributes:
        tokens: the ids of all tokens that any grammar allows, sorted.
        starts: the first state of each grammar.
        counts: the number of answers that each grammar allows, at most 1000.
    """

    def __init__(self, grammars: Sequence[Grammar]) -> None:
        self._grammars = grammars
        self.tokens = np.unique([token for grammar in grammars for token in grammar.tokens])
        self._number: dict[tuple[int, State], int] = {}
        self._states: list[tuple[int, State]] = []
        self._answer_number: dict[Answers, int] = {}
        self.answers: list[Answers] = []
        most = 2 + max(grammar.size for grammar in grammars)  # every member, a separator, and the end
        self._table = np.empty((0, 3, most), dtype=np.int64)
        self._filled = np.empty(0, dtype=bool)
        self.counts = np.array([sum(1 for _ in islice(grammar.answers(), _MAX_COUNT)) for grammar in grammars])
        self.starts = np.array([self._state(question, START) for question in range(len(grammars))])

    def follow(self, states: np.ndarray) -> Branches:
        """The continuations of each of `states` [r]."""
        for number in np.unique(states[~self._filled[states]]):
            self._fill(int(number))
        rows = self._table[states]
        return Branches(rows[:, 0], rows[:, 1], rows[:, 2])

    def _state(self, question: int, state: State) -> int:
        number = self._number.setdefault((question, state), len(self._states))
        if number == len(self._states):
            self._states.append((question, state))
            if number >= len(self._filled):  # doubles the table
                self._filled = np.concatenate([self._filled, np.zeros(number + 64, dtype=bool)])
                more = np.full((number + 64, *self._table.shape[1:]), NOWHERE, dtype=np.int64)
                self._table = np.concatenate([self._table, more])
        return number

    def _answer(self, answers: Answers) -> int:
        number = self._answer_number.setdefault(answers, len(self.answers))
        if number == len(self.answers):
            self.answers.append(answers)
        return number

    def _fill(self, number: int) -> None:
        question, state = self._states[number]
        grammar = self._grammars[question]
        for k, (token, after) in enumerate(grammar.following(state).items()):
            certain = _only_answer(grammar, after) if after else grammar.answer(state)
            leads = (self._state(question, after), NOWHERE) if certain is None else (NOWHERE, self._answer(certain))
            self._table[number, :, k] = (np.searchsorted(self.tokens, token), *leads)
        self._filled[number] = True


def _only_answer(grammar: Grammar, state: State) -> Answers | None:
    """The only answer that can follow from `state`; None if there are several."""
    while len(following := grammar.following(state)) == 1:
        (after,) = following.values()
        if not after:
            return grammar.answer(state)
        state = after
    return None
