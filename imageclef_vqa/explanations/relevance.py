"""The attentions of one answer, from the patches of the picture to the words, and how relevance flows through them.

    patches ─ vision ─► patches ─ Q-Former ─► queries, question ─ language model ─► answer

All tokens stand in one sequence: patches, then the prefix of the language model (visual tokens and question), then the
answer. An attention adds to the relevance of the tokens that read, its rows, that of the tokens that they read.

n pairs of image and question, p patches (a class token included), q visual tokens, k tokens of the prefix, a answer
tokens, s = p + k + a tokens in all, h heads, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, cycle, repeat
from typing import NamedTuple

import numpy as np
import paddle
from paddle import Tensor

from imageclef_vqa.models.attention import traced
from imageclef_vqa.models.blip2 import Blip2

_LOWEST = -1e9


class Attention(NamedTuple):
    """Weights [n, h, rows, columns], or [n·h, rows, columns], and where rows and columns stand in the sequence."""

    weights: Tensor
    rows: slice
    columns: slice


@dataclass(frozen=True)
class Trace:
    """What a model computed for n pairs: its attentions in order, and the log-odds [n] of the answers.

    `patches` is p, `tokens` is s; `answered` [n, a] is false at padding.
    """

    attentions: list[Attention]
    log_odds: Tensor
    patches: int
    tokens: int
    answered: np.ndarray


def trace_answer(model: Blip2, pixels: np.ndarray, question: Tensor, answer: Tensor) -> Trace:
    """Run `model` on pixels uint8 [n, h, w, 3], a question [n, t] and an answer [n, a] each; 0 is padding."""
    vision, count = model.vision, paddle.arange(len(pixels))
    with traced() as of_vision:
        features = vision.features(vision.normalise(pixels)) if vision.attends else vision.read(pixels)
    with traced() as of_qformer:
        visual = model.encode_features(features)
    with traced() as of_prefix:
        memory = model.read(visual, count, question, (question != 0).astype("int64"))
    with traced() as of_answer:
        logits = model.language.answer_logits(memory, answer)
    p, q, a = features.shape[1], visual.shape[1], answer.shape[1]
    k = max(weights.shape[-1] for weights in of_prefix)
    first = p + len(model.before_image)  # the place of the visual tokens
    patches, queries, whole = slice(0, p), slice(first, first + q), slice(p, p + k)
    attentions = [Attention(weights, patches, patches) for weights in of_vision]
    reads = [[queries] if each.cross_attention is None else [queries, patches] for each in model.qformer.layers]
    attentions += [Attention(*each) for each in zip(of_qformer, repeat(queries), chain(*reads), strict=False)]
    for weights in of_prefix:  # the keys are the first tokens of the prefix, and the queries the last of these
        rows, columns = weights.shape[-2:]
        attentions.append(Attention(weights, slice(p + columns - rows, p + columns), slice(p, p + columns)))
    spans = {"answer": slice(p + k, p + k + a), "prefix": whole, "both": slice(p, p + k + a)}
    for weights, read in zip(of_answer, cycle(model.language.answer_reads), strict=False):
        attentions.append(Attention(weights, spans["answer"], spans[read]))
    return Trace(attentions, _log_odds(logits, answer), p, p + k + a, (answer != 0).numpy())


def _log_odds(logits: Tensor, answer: Tensor) -> Tensor:
    """Log-odds [n] of the answers, from logits [n, a, v]: the mean over their tokens, weighted by how unsure they are.

    Its gradient is that of the log-probability but for a factor, and does not vanish where an answer is certain.
    """
    logits = logits.astype("float32")
    own = paddle.nn.functional.one_hot(answer, logits.shape[-1])
    others = paddle.logsumexp(logits + own * _LOWEST, axis=-1)
    odds = (logits * own).sum(-1) - others
    doubt = paddle.nn.functional.sigmoid(-odds).detach() * (answer != 0).astype("float32")
    return (odds * doubt).sum(-1) / doubt.sum(-1).clip(min=1e-30)


def of_patches(trace: Trace, averaged: Iterable[np.ndarray], *, keep: float, add: float) -> np.ndarray:
    """Relevance [n, p] of the patches for the answers, by attentions [n, rows, columns] that are averaged over heads.

    With each attention, a token keeps the share `keep` of its relevance and adds the share `add` of what it reads.
    """
    relevance = np.tile(np.eye(trace.tokens, dtype="float32"), (len(trace.answered), 1, 1))
    for attention, weights in zip(trace.attentions, averaged, strict=True):
        read = weights @ relevance[:, attention.columns]
        relevance[:, attention.rows] = keep * relevance[:, attention.rows] + add * read
    of_answer = relevance[:, -trace.answered.shape[1] :, : trace.patches]
    return np.asarray((of_answer * trace.answered[:, :, None]).sum(axis=1))


def over_heads(weights: np.ndarray, n: int) -> np.ndarray:
    """The mean over heads of weights [n, h, ·, ·] or [n·h, ·, ·]."""
    return np.asarray(weights.reshape(n, -1, *weights.shape[-2:]).mean(axis=1))
