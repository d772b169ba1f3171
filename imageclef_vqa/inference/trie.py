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


class Tree(NamedTuple):
    """All partial answers to one question that the language model is asked to continue: a nodes, the start first.

    Attributes:
        tokens: the last one of each node [a]; NOWHERE for the start.
        parent, slot: each node is what `branches` has at [parent, slot]; NOWHERE for the start.
        branches: the continuations of each node [a, k].
        before: bool [a, a], whether node j is i itself or one before it.
    """

    tokens: np.ndarray
    parent: np.ndarray
    slot: np.ndarray
    branches: Branches
    before: np.ndarray


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
        self._trees: dict[tuple[int, int], Tree | None] = {}
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

    def tree(self, question: int, most: int) -> Tree | None:
        """The partial answers to a question, parents before their children; None if there are more than `most`."""
        if (question, most) not in self._trees:
            self._trees[question, most] = self._tree(question, most)
        return self._trees[question, most]

    def _tree(self, question: int, most: int) -> Tree | None:
        states, parent, slot = [int(self.starts[question])], [NOWHERE], [NOWHERE]
        for node, state in enumerate(states):  # which grows
            if len(states) > most:
                return None
            after = self.follow(np.array([state])).states[0]
            (slots,) = np.nonzero(after != NOWHERE)
            states += after[slots].tolist()
            parent += [node] * len(slots)
            slot += slots.tolist()
        branches = self.follow(np.array(states))
        used = (branches.tokens != NOWHERE).any(axis=0)
        branches = Branches(*(part[:, used] for part in branches))
        tokens = np.append(NOWHERE, self.tokens[branches.tokens[parent[1:], slot[1:]]])
        before = np.eye(len(states), dtype=bool)
        for node in range(1, len(states)):
            before[node] |= before[parent[node]]
        return Tree(tokens, np.array(parent), np.array(slot), branches, before)

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
