"""Constrained decoding: the allowed answers of a question, ranked by their probability.

At each token, the softmax is taken over the allowed tokens only, so the product over an answer's tokens is a
distribution over all allowed answers. If these are few, all are ranked; otherwise beam search finds the likeliest.

n pairs, r rows (partial answers), w tokens that any question allows, k allowed continuations.
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

SHORT_LIST = 32  # a question with at most this many answers has all of them ranked
BEAM = 16
# In beam search, partial answers less likely than this are dropped.
NEGLIGIBLE = 1e-4
FREE_TOKENS = 10  # of a free answer, where the recipe has no limit (paper, section 3.1)
# In place of an empty free answer: a record needs an answer, and this one is in no vocabulary.
NO_ANSWER = "(no answer)"


class _Rows(NamedTuple):
    """Partial answers, [r] each: their pair, state in the trie, log-probability and last token."""

    pair: np.ndarray
    state: np.ndarray
    log_prob: np.ndarray
    token: np.ndarray


class _Final(NamedTuple):
    """Final answers, each with its pair and its log-probability."""

    pair: np.ndarray
    answer: np.ndarray
    log_prob: np.ndarray


@paddle.no_grad()
def rank_answers(
    language: Language, memory: Memory, trie: Trie, questions: np.ndarray, beam: int = BEAM, short: int = SHORT_LIST
) -> list[Ranked]:
    """The likeliest answers to each of n pairs: all of them if there are at most `short`, else at most `beam`.

    `questions` [n] is the index of each pair's grammar in the trie.

    Raises:
        MedvqaError: the model's output is not finite.
    """
    counts = trie.counts[questions]
    width = np.where(counts <= short, counts, beam)
    floor = np.where(counts <= short, -np.inf, np.log(NEGLIGIBLE))
    n = len(questions)
    head = language.head(paddle.to_tensor(trie.tokens))
    rows = _Rows(np.arange(n), trie.starts[questions], np.zeros(n), np.full(n, language.start))
    final = _Final(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
    while len(rows.pair):
        logits, memory = language.step(memory, paddle.to_tensor(rows.token), head)
        kept, rows, final = _advance(rows, final, logits.astype("float32").numpy(), trie, width, floor)
        if len(kept):
            memory = memory.rows(paddle.to_tensor(kept))
    return _lists(final, trie, n)


def _advance(
    rows: _Rows, final: _Final, logits: np.ndarray, trie: Trie, width: np.ndarray, floor: np.ndarray
) -> tuple[np.ndarray, _Rows, _Final]:
    """Extend each row by one token: the indices of the rows that continue, their extensions, and all final answers."""
    branches = trie.follow(rows.state)
    log_probs = rows.log_prob[:, None] + _allowed_log_probs(logits, branches.tokens)
    row, k = np.nonzero(branches.answers != NOWHERE)
    final = _Final(
        np.concatenate([final.pair, rows.pair[row]]),
        np.concatenate([final.answer, branches.answers[row, k]]),
        np.concatenate([final.log_prob, log_probs[row, k]]),
    )
    kept, _ = best_of_each_pair(final.pair, final.log_prob, width)
    final = _Final(*(part[kept] for part in final))
    # A longer answer is never likelier: what is below the worst answer of a full list cannot enter it.
    bar, count = floor.copy(), np.bincount(final.pair, minlength=len(width))
    full = count == width
    worst = np.full(len(width), np.inf)
    np.minimum.at(worst, final.pair, final.log_prob)
    bar[full] = np.maximum(bar[full], worst[full])
    row, k = np.nonzero(branches.states != NOWHERE)
    pair, log_prob = rows.pair[row], log_probs[row, k]
    kept, rank = best_of_each_pair(pair, log_prob, width)
    kept = kept[(log_prob[kept] > bar[pair[kept]]) | ((rank == 0) & (count[pair[kept]] == 0))]
    row, k = row[kept], k[kept]
    return row, _Rows(pair[kept], branches.states[row, k], log_prob[kept], trie.tokens[branches.tokens[row, k]]), final


def _allowed_log_probs(logits: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Log-softmax over the allowed `tokens` [r, k] (indices into the w logits), from `logits` [r, w]: [r, k]."""
    allowed = np.take_along_axis(logits, np.maximum(tokens, 0), axis=1).astype("float64")
    scores = np.where(tokens == NOWHERE, -np.inf, allowed)
    best = scores.max(axis=1, keepdims=True)
    check_finite(best)
    scores -= best
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def check_finite(scores: np.ndarray) -> None:
    if not np.isfinite(scores).all():
        remedy = "its weights are damaged, or training diverged: train the stage again with --fresh"
        raise MedvqaError("the model's output is not finite", remedy=remedy)


def best_of_each_pair(pair: np.ndarray, log_prob: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the `width` [n] best of each pair, by pair and then best first, and their ranks (0 is best)."""
    order = np.lexsort((-log_prob, pair))
    sorted_pair = pair[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_pair, sorted_pair)
    kept = rank < width[sorted_pair]
    return order[kept], rank[kept]


def _lists(final: _Final, trie: Trie, n: int) -> list[Ranked]:
    order = np.lexsort((-final.log_prob, final.pair))
    starts = np.searchsorted(final.pair[order], np.arange(n + 1)).tolist()
    answers = [trie.answers[number] for number in final.answer[order].tolist()]
    listed = list(zip(answers, np.exp(final.log_prob[order]).clip(max=1.0).tolist(), strict=True))
    return [tuple(listed[start:end]) for start, end in pairwise(starts)]


@paddle.no_grad()
def generate(
    language: Language, memory: Memory, tokenizer: Tokenizer, n: int, length: int = FREE_TOKENS
) -> list[Ranked]:
    """Unconstrained greedy decoding of n pairs: one string each, of at most `length` tokens.

    Its probability is the product over its tokens. An empty answer becomes `NO_ANSWER`.

    Raises:
        MedvqaError: the model's output is not finite.
    """
    tokens = np.full(n, language.start)
    written, log_prob, running = np.full((n, length), tokenizer.pad), np.zeros(n), np.ones(n, dtype=bool)
    for index in range(length):
        logits, memory = language.step(memory, paddle.to_tensor(tokens))
        scores = paddle.nn.functional.log_softmax(logits.astype("float32"), axis=-1)
        tokens = np.where(running, scores.argmax(-1).numpy(), tokenizer.pad)
        best = scores.max(-1).numpy()
        check_finite(best)
        log_prob += np.where(running, best, 0.0)
        written[:, index] = tokens
        running &= tokens != tokenizer.end
        if not running.any():
            break
    texts = [_text(tokenizer, ids) for ids in written.tolist()]
    return [(((text,), min(1.0, float(np.exp(p)))),) for text, p in zip(texts, log_prob, strict=True)]


def _text(tokenizer: Tokenizer, ids: list[int]) -> str:
    try:
        return tokenizer.decode(ids).strip() or NO_ANSWER
    except IndexError:  # an id without a token: T5 rounds its vocabulary size up
        return NO_ANSWER
