"""Constrained decoding: the allowed answers of a question, ranked by their probability.

At each token, the softmax is taken over the allowed tokens only, so the product over an answer's tokens is a
distribution over all allowed answers. If these are few, all are ranked, and the language model reads them as one tree;
otherwise beam search finds the likeliest.

n pairs, r rows (partial answers), a nodes of a tree, w tokens that any question allows, k allowed continuations.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import paddle

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inference.ranked import Ranked
from imageclef_vqa.inference.trie import NOWHERE, Tree, Trie
from imageclef_vqa.models.language import Language, Memory, Tokenizer, Trees

SHORT_LIST = 32  # a question with at most this many answers has all of them ranked
BEAM = 16
TREE = 32  # partial answers that the language model reads at once
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

    def and_those(self, others: _Final) -> _Final:
        return _Final(*(np.concatenate(parts) for parts in zip(self, others, strict=True)))


@paddle.no_grad()
def rank_answers(
    language: Language,
    memory: Memory,
    trie: Trie,
    questions: np.ndarray,
    beam: int = BEAM,
    short: int = SHORT_LIST,
    nodes: int = TREE,
) -> list[Ranked]:
    """The likeliest answers to each of n pairs: all of them if there are at most `short`, else at most `beam`.

    `questions` [n] is the index of each pair's grammar in the trie. The language model reads the partial answers to a
    question as one tree if it has at most `nodes`; otherwise the likeliest answers are found token by token.

    Raises:
        MedvqaError: the model's output is not finite.
    """
    n, counts = len(questions), trie.counts[questions]
    width = np.where(counts <= short, counts, beam)
    floor = np.where(counts <= short, -np.inf, np.log(NEGLIGIBLE))
    head = language.head(paddle.to_tensor(trie.tokens))
    trees = {question: trie.tree(question, nodes) for question in np.unique(questions).tolist()}
    # Trees of like sizes are read together, since all are padded to the largest.
    sizes = {question: 1 + (len(tree.tokens) - 1).bit_length() if tree else 0 for question, tree in trees.items()}
    of_pair = np.array([sizes[question] for question in questions.tolist()])
    final = _Final(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
    for size in set(sizes.values()):
        pairs = np.flatnonzero(of_pair == size)
        own, asked = memory if len(pairs) == n else memory.rows(paddle.to_tensor(pairs)), questions[pairs]
        if size:
            found = _all_answers(
                language, own, {q: tree for q, tree in trees.items() if tree and sizes[q] == size}, asked, head
            )
        else:
            found = _likeliest(language, own, trie, asked, head, width[pairs], floor[pairs])
        final = final.and_those(found._replace(pair=pairs[found.pair]))
    kept, _ = best_of_each_pair(final.pair, final.log_prob, width)
    return _lists(_Final(*(part[kept] for part in final)), trie, n)


def _all_answers(
    language: Language, memory: Memory, trees: Mapping[int, Tree], questions: np.ndarray, head: paddle.Tensor
) -> _Final:
    """Every answer to each pair: the language model reads all partial answers at once."""
    asked, of_pair = np.unique(questions, return_inverse=True)
    most = max(len(tree.tokens) for tree in trees.values())
    tokens = np.full((len(asked), most), language.start)
    before = np.broadcast_to(np.eye(most, dtype=bool), (len(asked), most, most)).copy()
    for index, question in enumerate(asked.tolist()):
        nodes = len(trees[question].tokens)
        tokens[index, 1:nodes], before[index, :nodes, :nodes] = trees[question].tokens[1:], trees[question].before
    logits = language.tree_logits(memory, Trees(tokens, before, of_pair), head).astype("float32").numpy()
    final = []
    for index, question in enumerate(asked.tolist()):
        tree, pairs = trees[question], np.flatnonzero(of_pair == index)
        own = logits[pairs, : len(tree.tokens)].reshape(-1, logits.shape[-1])
        log_probs = _allowed_log_probs(own, np.tile(tree.branches.tokens, (len(pairs), 1)))
        log_probs = log_probs.reshape(len(pairs), len(tree.tokens), -1)
        for node in range(1, len(tree.tokens)):
            log_probs[:, node] += log_probs[:, tree.parent[node], tree.slot[node], None]
        node, k = np.nonzero(tree.branches.answers != NOWHERE)
        answers = np.tile(tree.branches.answers[node, k], len(pairs))
        final.append(_Final(np.repeat(pairs, len(node)), answers, log_probs[:, node, k].ravel()))
    return _Final(*map(np.concatenate, zip(*final, strict=True)))


def _likeliest(
    language: Language,
    memory: Memory,
    trie: Trie,
    questions: np.ndarray,
    head: paddle.Tensor,
    width: np.ndarray,
    floor: np.ndarray,
) -> _Final:
    """The `width` [n] likeliest answers to each pair that beam search finds, token by token.

    Partial answers whose log-probability is below `floor` [n] are dropped.
    """
    n = len(questions)
    rows = _Rows(np.arange(n), trie.starts[questions], np.zeros(n), np.full(n, language.start))
    final = _Final(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
    while len(rows.pair):
        logits, memory = language.step(memory, paddle.to_tensor(rows.token), head)
        kept, rows, final = _advance(rows, final, logits.astype("float32").numpy(), trie, width, floor)
        if len(kept):
            memory = memory.rows(paddle.to_tensor(kept))
    return final


def _advance(
    rows: _Rows, final: _Final, logits: np.ndarray, trie: Trie, width: np.ndarray, floor: np.ndarray
) -> tuple[np.ndarray, _Rows, _Final]:
    """Extend each row by one token: the indices of the rows that continue, their extensions, and all final answers."""
    branches = trie.follow(rows.state)
    log_probs = rows.log_prob[:, None] + _allowed_log_probs(logits, branches.tokens)
    row, k = np.nonzero(branches.answers != NOWHERE)
    final = final.and_those(_Final(rows.pair[row], branches.answers[row, k], log_probs[row, k]))
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
