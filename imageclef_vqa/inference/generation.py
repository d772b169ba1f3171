"""Free generation of sentences with cached keys and values: beam search and sampling.

n pairs of image and question, r rows (partial sentences), v vocabulary.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import paddle

from imageclef_vqa.inference.decoding import best_of_each_pair, check_finite
from imageclef_vqa.models.language import Language, Memory


class Sentence(NamedTuple):
    """Token ids without the end token, and the log-probability of all tokens, the end token included."""

    tokens: tuple[int, ...]
    log_prob: float


@paddle.no_grad()
def beam_search(language: Language, memory: Memory, n: int, end: int, width: int, length: int) -> list[list[Sentence]]:
    """The `width` likeliest sentences of at most `length` tokens that the search finds for each of n pairs, best first.

    Width 1 is greedy decoding. A sentence that has no end after `length` tokens is cut there.

    Raises:
        MedvqaError: the model's output is not finite.
    """
    pair, log_prob = np.arange(n), np.zeros(n)
    tokens, written = np.full(n, language.start), np.zeros((n, 0), dtype="int64")
    final_pair, final_log_prob = np.empty(0, dtype="int64"), np.empty(0)
    final_written: list[tuple[int, ...]] = []
    for step in range(length):
        logits, memory = language.step(memory, paddle.to_tensor(tokens))
        row, token, score = _continuations(log_prob, log_softmax(logits), width)
        complete = (token == end) | (step == length - 1)
        final_pair = np.concatenate([final_pair, pair[row[complete]]])
        final_log_prob = np.concatenate([final_log_prob, score[complete]])
        last = zip(row[complete], token[complete], strict=True)
        final_written += [(*written[r].tolist(), *([int(t)] if t != end else ())) for r, t in last]
        row, token, score = row[~complete], token[~complete], score[~complete]
        kept, _ = best_of_each_pair(pair[row], score, np.full(n, width))
        kept = kept[score[kept] > _bar(final_pair, final_log_prob, n, width)[pair[row[kept]]]]
        if not len(kept):
            break
        row, tokens, log_prob = row[kept], token[kept], score[kept]
        pair, written = pair[row], np.concatenate([written[row], tokens[:, None]], axis=1)
        memory = memory.rows(paddle.to_tensor(row))
    order, _ = best_of_each_pair(final_pair, final_log_prob, np.full(n, width))
    starts = np.searchsorted(final_pair[order], np.arange(n + 1)).tolist()
    found = [Sentence(final_written[index], float(final_log_prob[index])) for index in order]
    return [found[start:stop] for start, stop in pairwise(starts)]


def _continuations(
    log_prob: np.ndarray, log_probs: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The likeliest continuations of each row: rows, tokens, and the log-probability of the whole, flat."""
    most = min(width + 1, log_probs.shape[1])  # one of them may be the end
    token = np.argpartition(-log_probs, most - 1, axis=1)[:, :most]
    score = log_prob[:, None] + np.take_along_axis(log_probs, token, axis=1)
    return np.repeat(np.arange(len(log_prob)), most), token.ravel(), score.ravel()


def _bar(pair: np.ndarray, log_prob: np.ndarray, n: int, width: int) -> np.ndarray:
    """What a partial sentence of each pair must exceed: the `width`-th best complete one, which only grows worse."""
    kept, rank = best_of_each_pair(pair, log_prob, np.full(n, width))
    bar = np.full(n, -np.inf)
    full = kept[rank == width - 1]
    bar[pair[full]] = log_prob[full]
    return bar


def log_softmax(logits: paddle.Tensor) -> np.ndarray:
    """Log-probabilities [r, v] in float32. Paddle's own takes 200 times as long on the CPU."""
    scores = logits.astype("float32").numpy()
    best = scores.max(axis=1, keepdims=True)
    check_finite(best)
    scores = scores - best
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


@paddle.no_grad()
def score_sentences(
    language: Language, memory: Memory, sentences: list[list[tuple[int, ...]]], end: int
) -> list[list[float]]:
    """Log-probability of each of a pair's given sentences (token ids without the end), teacher-forced."""
    counts = [len(each) for each in sentences]
    flat = [[*tokens, end] for each in sentences for tokens in each]
    width = max(map(len, flat))
    answer = np.array([ids + [0] * (width - len(ids)) for ids in flat], dtype="int64")
    rows = memory.rows(paddle.to_tensor(np.repeat(np.arange(len(sentences)), counts)))
    scores = iter(language.score(rows, paddle.to_tensor(answer)).numpy().tolist())
    return [[next(scores) for _ in each] for each in sentences]


@paddle.no_grad()
def sample(
    language: Language, memory: Memory, n: int, end: int, draws: int, length: int, rng: np.random.Generator
) -> list[list[Sentence]]:
    """`draws` sentences of each of n pairs, drawn from the model's distribution."""
    pair = np.repeat(np.arange(n), draws)
    running = np.arange(len(pair))
    tokens = np.full(n, language.start)
    written: list[list[int]] = [[] for _ in pair]
    total = np.zeros(len(pair))
    for step in range(length):
        logits, memory = language.step(memory, paddle.to_tensor(tokens))
        log_probs = log_softmax(logits)
        if step == 0:
            log_probs = np.repeat(log_probs, draws, axis=0)
        # Gumbel's trick: the largest of log-probability plus noise is a draw.
        token = (log_probs + rng.gumbel(size=log_probs.shape)).argmax(axis=1)
        total[running] += np.take_along_axis(log_probs, token[:, None], axis=1)[:, 0]
        for row, each in zip(running, token.tolist(), strict=True):
            if each != end:
                written[row].append(each)
        going = np.flatnonzero(token != end)
        if not len(going):
            break
        memory = memory.rows(paddle.to_tensor(pair[going] if step == 0 else going))
        running, tokens = running[going], token[going]
    found = [Sentence(tuple(ids), float(log_prob)) for ids, log_prob in zip(written, total, strict=True)]
    return [found[start : start + draws] for start in range(0, len(found), draws)]
