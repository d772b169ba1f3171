"""Beam search that can only say what a question's grammar allows.

At each token, probability is shared out among the allowed tokens alone; the product over an answer's tokens is then a
distribution over all allowed answers, and the beam finds its largest values.

r rows (hypotheses alive), v vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import paddle

from imageclef_vqa.inference.grammar import START, Grammar, State
from imageclef_vqa.models.language import Language, Memory
from imageclef_vqa.task import Candidate

# A hypothesis less likely than this is let go: it could not be an answer worth listing.
NEGLIGIBLE = 1e-4


class Hypothesis(NamedTuple):
    """An answer under way: its pair, log-probability, the row that it continues, its last token and state."""

    pair: int
    log_prob: float
    row: int
    token: int
    state: State


@paddle.no_grad()
def beam_search(
    language: Language, memory: Memory, grammars: Sequence[Grammar], width: int
) -> list[tuple[Candidate, ...]]:
    """The likeliest answers of each of n pairs, best first, at most `width`; `grammars` holds one for each pair."""
    finished: list[list[tuple[float, State]]] = [[] for _ in grammars]
    alive = [Hypothesis(pair, 0.0, pair, language.start, START) for pair in range(len(grammars))]
    while alive:
        memory = memory.rows(paddle.to_tensor([hypothesis.row for hypothesis in alive]))
        logits, memory = language.step(memory, paddle.to_tensor([hypothesis.token for hypothesis in alive]))
        alive = _continue(alive, logits.astype("float32").numpy(), grammars, finished, width)
    return [
        tuple(
            Candidate(answers=grammar.said(state), probability=min(1.0, float(np.exp(log_prob))))
            for log_prob, state in ranked
        )
        for grammar, ranked in zip(grammars, finished, strict=True)
    ]


def _continue(
    alive: list[Hypothesis],
    logits: np.ndarray,
    grammars: Sequence[Grammar],
    finished: list[list[tuple[float, State]]],
    width: int,
) -> list[Hypothesis]:
    """One token more for each hypothesis: those that end go to `finished`, the best of the rest are returned."""
    longer: list[list[Hypothesis]] = [[] for _ in grammars]
    for row, (before, scores) in enumerate(zip(alive, logits, strict=True)):
        following = grammars[before.pair].following(before.state)
        allowed = scores[list(following)]
        peak = allowed.max()
        log_probs = before.log_prob + allowed - peak - np.log(np.exp(allowed - peak).sum())
        for (token, state), log_prob in zip(following.items(), log_probs.tolist(), strict=True):
            if state:
                longer[before.pair].append(Hypothesis(before.pair, log_prob, row, token, state))
            else:
                finished[before.pair].append((log_prob, before.state))
    kept: list[Hypothesis] = []
    for ended, going in zip(finished, longer, strict=True):
        ended.sort(key=lambda answer: -answer[0])
        del ended[width:]
        # Nothing gets likelier by growing: what is below the worst answer of a full list cannot enter it.
        bar = ended[-1][0] if len(ended) == width else -np.inf
        going.sort(key=lambda hypothesis: -hypothesis.log_prob)
        for number, hypothesis in enumerate(going[:width]):
            likely = hypothesis.log_prob >= np.log(NEGLIGIBLE) or (not ended and number == 0)
            if likely and hypothesis.log_prob > bar:
                kept.append(hypothesis)
    return kept
