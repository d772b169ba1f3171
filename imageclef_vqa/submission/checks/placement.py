"""Whether answers stand at their questions: answers share words with their question and with training's answers to it.

Rows are judged in blocks, since a slip may begin anywhere. The fit of a block is compared with that of its answers in
random order (mean and deviation over all orders, Hoeffding 1951). On 1,262 real rows, gold and predicted sentences are
8 or more deviations above the mean, shuffled ones at most 3, and no wrong place fits better than the right one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from imageclef_vqa.errors import counted
from imageclef_vqa.submission.checks.customs import FEWEST, Customs
from imageclef_vqa.submission.run import Finding, error
from imageclef_vqa.submission.sentences import SentenceRow

_BLOCK = 64  # rows
_FARTHEST = 40  # rows; an image has up to 25 questions
_CHANCE = 3.0  # deviations above the mean of random orders
_LEAST_FIT = 0.25  # mean share of an answer's words that fit some question; foreign words tell nothing
_WORD = re.compile(r"\w+")


def check_placement(rows: Sequence[SentenceRow], customs: Customs) -> Iterator[Finding]:
    """Answers that stand some rows from their questions, and answers in random order."""
    slipped, random = [], []
    for start, end, offset in _misplaced(rows, customs):
        where = f"rows {start:,} to {end - 1:,}"
        if offset:
            count = counted(abs(offset), "row")
            slipped.append(f"{where}: {count} {'before' if offset > 0 else 'behind'}")
        else:
            random.append(where)
    if slipped:
        yield error("shifted", slipped, "answers fit the questions of other rows", "keep each answer with its question")
    if random:
        message = "answers fit their questions no better than in random order"
        yield error("shuffled", random, message, "keep each answer with its question")


def _misplaced(rows: Sequence[SentenceRow], customs: Customs) -> Iterator[tuple[int, int, int]]:
    """Start and end of each block that is misplaced, and by how many rows (0: unknown)."""
    if len(rows) < FEWEST:
        return
    answers = [_words(row.answer) for row in rows]
    frequency = Counter(word for words in answers for word in words)
    rarity = {word: float(np.log((len(rows) + 1) / count)) for word, count in frequency.items()}
    expected = {row.question: _words(row.question, *customs.answers.get(row.question, ())) for row in rows}
    edges = np.linspace(0, len(rows), max(1, round(len(rows) / _BLOCK)) + 1).astype(int).tolist()
    for start, end in pairwise(edges):
        first = max(0, start - _FARTHEST)
        near = answers[first : end + _FARTHEST]
        fit = _fit(near, [expected[row.question] for row in rows[start:end]], rarity)
        offset = _offset(fit, start - first)
        if offset is not None:
            yield start, end, offset


def _fit(answers: Sequence[set[str]], questions: Sequence[set[str]], rarity: dict[str, float]) -> np.ndarray:
    """The share of each answer's words, weighted by rarity, that each question expects: float [answers, questions]."""
    columns = {word: at for at, word in enumerate(sorted(set().union(*answers)))}
    given, asked = np.zeros((len(answers), len(columns))), np.zeros((len(questions), len(columns)))
    for at, words in enumerate(answers):
        for word in words:
            given[at, columns[word]] = rarity[word]
    for at, words in enumerate(questions):
        asked[at, [columns[word] for word in words if word in columns]] = 1
    return (given @ asked.T) / given.sum(axis=1, keepdims=True).clip(min=1e-9)


def _offset(fit: np.ndarray, before: int) -> int | None:
    """How many rows off the answers to a block's questions stand: None if they are right, 0 if nothing fits.

    `fit` [n, m] is that of n answers in a row to m questions; the answer to question i stands in row i + `before`.
    """
    count = fit.shape[1]
    own = fit[before : before + count]
    centred = own - own.mean(axis=0) - own.mean(axis=1, keepdims=True) + own.mean()
    deviation = float(np.sqrt((centred**2).sum() / max(count - 1, 1)))
    if own.max(axis=1).mean() < _LEAST_FIT or deviation < 1e-6:
        return None
    scores = {}
    for offset in range(-before - count // 2, len(fit) - before - count // 2):  # at least half of the block
        pairs = np.diagonal(fit, -offset - before)
        scores[offset] = (pairs.sum() - len(pairs) * own.mean()) / deviation
    best = max(scores, key=lambda k: (scores[k], -abs(k)))
    if scores[best] > max(scores[0], _CHANCE) + _CHANCE:
        return best
    return 0 if scores[0] < _CHANCE else None


def _words(*texts: str) -> set[str]:
    return {word for text in texts for word in _WORD.findall(text.casefold())}
