"""Ranking answers by walking the trie of what a question allows.

At each token, probability is shared out among the allowed tokens alone; the product over an answer's tokens is then a
distribution over all allowed answers. Where these are few, all are ranked; else a beam finds the largest values.

n pairs, r rows (answers under way), w words that some question allows, k words that may follow.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import paddle

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inference.ranked import Ranked
from imageclef_vqa.inference.trie import NOWHERE, Trie
from imageclef_vqa.models.language import Language, Memory, Tokenizer

SHORT_LIST = 32  # answers; a question that allows no more has all of them ranked
BEAM = 16
# An answer under way that is less likely than this is let go, where not all are ranked.
NEGLIGIBLE = 1e-4
# What stands for an empty free answer: a record needs an answer, and this one is in no vocabulary.
NOTHING = "(no answer)"


class _Rows(NamedTuple):
    """Answers under way, [r] each: whose they are, their state in the trie, log-probability and last token."""

    pair: np.ndarray
    state: np.ndarray
    log_prob: np.ndarray
    token: np.ndarray


class _Ended(NamedTuple):
    """Answers that are certain, each with its pair and its log-probability."""

    pair: np.ndarray
    answer: np.ndarray
    log_prob: np.ndarray


@paddle.no_grad()
def rank_answers(
    language: Language, memory: Memory, trie: Trie, questions: np.ndarray, beam: int = BEAM, short: int = SHORT_LIST
) -> list[Ranked]:
    """The likeliest answers to each of n pairs, all of them where there are at most `short`, else at most `beam`.

    `questions` [n] says which grammar of the trie is each pair's.

    Raises:
        MedvqaError: the model's output is not finite.
    """
    counts = trie.counts[questions]
    width = np.where(counts <= short, counts, beam)
    floor = np.where(counts <= short, -np.inf, np.log(NEGLIGIBLE))
    n = len(questions)
    head = language.head(paddle.to_tensor(trie.words))
    rows = _Rows(np.arange(n), trie.starts[questions], np.zeros(n), np.full(n, language.start))
    ended = _Ended(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
    while len(rows.pair):
        logits, memory = language.step(memory, paddle.to_tensor(rows.token), head)
        kept, rows, ended = _advance(rows, ended, logits.astype("float32").numpy(), trie, width, floor)
        if len(kept):
            memory = memory.rows(paddle.to_tensor(kept))
    return _lists(ended, trie, n)


def _advance(
    rows: _Rows, ended: _Ended, logits: np.ndarray, trie: Trie, width: np.ndarray, floor: np.ndarray
) -> tuple[np.ndarray, _Rows, _Ended]:
    """One token more for each row: which rows go on (by their place before), these rows, and all that has ended."""
    branches = trie.follow(rows.state)
    log_probs = rows.log_prob[:, None] + _share_out(logits, branches.words)
    at, k = np.nonzero(branches.answers != NOWHERE)
    ended = _Ended(
        np.concatenate([ended.pair, rows.pair[at]]),
        np.concatenate([ended.answer, branches.answers[at, k]]),
        np.concatenate([ended.log_prob, log_probs[at, k]]),
    )
    place, _ = _best_of_each_pair(ended.pair, ended.log_prob, width)
    ended = _Ended(*(part[place] for part in ended))
    # Nothing gets likelier by growing: what is below the worst answer of a full list cannot enter it.
    bar, count = floor.copy(), np.bincount(ended.pair, minlength=len(width))
    full = count == width
    worst = np.full(len(width), np.inf)
    np.minimum.at(worst, ended.pair, ended.log_prob)
    bar[full] = np.maximum(bar[full], worst[full])
    at, k = np.nonzero(branches.states != NOWHERE)
    pair, log_prob = rows.pair[at], log_probs[at, k]
    place, standing = _best_of_each_pair(pair, log_prob, width)
    place = place[(log_prob[place] > bar[pair[place]]) | ((standing == 0) & (count[pair[place]] == 0))]
    at, k = at[place], k[place]
    return at, _Rows(pair[place], branches.states[at, k], log_prob[place], trie.words[branches.words[at, k]]), ended


def _share_out(logits: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Log-probabilities [r, k] among the allowed `words` [r, k] alone, from the logits [r, w] of all words."""
    allowed = np.take_along_axis(logits, np.maximum(words, 0), axis=1).astype("float64")
    scores = np.where(words == NOWHERE, -np.inf, allowed)
    best = scores.max(axis=1, keepdims=True)
    _check_finite(best)
    scores -= best
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def _check_finite(scores: np.ndarray) -> None:
    if not np.isfinite(scores).all():
        remedy = "its weights are damaged, or training diverged: `medvqa finetune --fresh` trains anew"
        raise MedvqaError("the model's output is not finite", remedy=remedy)


def _best_of_each_pair(pair: np.ndarray, log_prob: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the `width` [n] best of each pair, by pair and then best first, and their standing (0 is best)."""
    order = np.lexsort((-log_prob, pair))
    sorted_pair = pair[order]
    standing = np.arange(len(order)) - np.searchsorted(sorted_pair, sorted_pair)
    kept = standing < width[sorted_pair]
    return order[kept], standing[kept]


def _lists(ended: _Ended, trie: Trie, n: int) -> list[Ranked]:
    order = np.lexsort((-ended.log_prob, ended.pair))
    starts = np.searchsorted(ended.pair[order], np.arange(n + 1)).tolist()
    answers = [trie.answers[number] for number in ended.answer[order].tolist()]
    listed = list(zip(answers, np.exp(ended.log_prob[order]).clip(max=1.0).tolist(), strict=True))
    return [tuple(listed[start:end]) for start, end in pairwise(starts)]


@paddle.no_grad()
def say_freely(language: Language, memory: Memory, tokenizer: Tokenizer, n: int, length: int = 10) -> list[Ranked]:
    """What the model says greedily, token by token, of its whole vocabulary: at most `length` tokens (the paper's 10),
    as one string, with the product of its tokens' probabilities. An empty answer is written `NOTHING`.

    Raises:
        MedvqaError: the model's output is not finite.
    """
    tokens = np.full(n, language.start)
    said, log_prob, going = np.full((n, length), tokenizer.pad), np.zeros(n), np.ones(n, dtype=bool)
    for index in range(length):
        logits, memory = language.step(memory, paddle.to_tensor(tokens))
        scores = paddle.nn.functional.log_softmax(logits.astype("float32"), axis=-1)
        tokens = np.where(going, scores.argmax(-1).numpy(), tokenizer.pad)
        best = scores.max(-1).numpy()
        _check_finite(best)
        log_prob += np.where(going, best, 0.0)
        said[:, index] = tokens
        going &= tokens != tokenizer.end
        if not going.any():
            break
    texts = [_text(tokenizer, ids) for ids in said.tolist()]
    return [(((text,), min(1.0, float(np.exp(p)))),) for text, p in zip(texts, log_prob, strict=True)]


def _text(tokenizer: Tokenizer, ids: list[int]) -> str:
    try:
        return tokenizer.decode(ids).strip() or NOTHING
    except IndexError:  # an id without a piece: T5 rounds its vocabulary up
        return NOTHING
