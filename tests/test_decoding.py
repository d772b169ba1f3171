"""Decoding can only say what the vocabulary allows, and its probabilities are those of a distribution over that."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imageclef_vqa import runtime
from imageclef_vqa.task import learn_vocabulary

runtime.prepare("cpu", seed=0)

import paddle  # noqa: E402  (after the environment is set for it)

from imageclef_vqa.inference.decoding import rank_answers  # noqa: E402
from imageclef_vqa.inference.grammar import START, Grammar  # noqa: E402
from imageclef_vqa.inference.trie import Trie  # noqa: E402
from imageclef_vqa.models.language import Tokenizer  # noqa: E402
from imageclef_vqa.models.presets import TINY_WEIGHTS  # noqa: E402

TOKENIZER = Tokenizer(TINY_WEIGHTS / "spiece.model")


class SaidSoFar(NamedTuple):
    """A memory of nothing but the tokens of each row."""

    tokens: list[tuple[int, ...]]

    def rows(self, rows: paddle.Tensor) -> "SaidSoFar":
        return SaidSoFar([self.tokens[row] for row in rows.tolist()])


class RandomLanguage:
    """A language model whose next token depends on the tokens so far, by a fixed random table, and on nothing else."""

    start = 0

    def __init__(self, seed: int, sharpness: float) -> None:
        self.seed, self.sharpness = seed, sharpness

    def logits(self, tokens: tuple[int, ...]) -> np.ndarray:
        rng = np.random.default_rng([self.seed, *tokens])
        return (rng.standard_normal(len(TOKENIZER)) * self.sharpness).astype("float32")

    def step(self, memory: SaidSoFar, tokens: paddle.Tensor) -> tuple[paddle.Tensor, SaidSoFar]:
        said = [(*before, token) for before, token in zip(memory.tokens, tokens.tolist(), strict=True)]
        return paddle.to_tensor(np.stack([self.logits(each) for each in said])), SaidSoFar(said)


def vocabulary_of(*answers: tuple[str, ...]):
    return learn_vocabulary([(5, answer) for answer in answers])[5]


def memory_of(pairs: int) -> SaidSoFar:
    return SaidSoFar([()] * pairs)


def rank(language, grammars, beam, short=0):
    """The ranked answers of one pair for each grammar."""
    return rank_answers(language, memory_of(len(grammars)), Trie(grammars), np.arange(len(grammars)), beam, short)


def brute_force(language: RandomLanguage, grammar: Grammar, answer: tuple[str, ...]) -> float:
    """The probability of an answer by the definition: at each token, shared out among the allowed ones."""
    state, tokens, log_prob = START, (0,), 0.0
    for token in TOKENIZER.encode_answer(answer):
        following = grammar.following(state)
        allowed = language.logits(tokens)[list(following)].astype("float64")
        log_prob += language.logits(tokens)[token] - np.log(np.exp(allowed).sum())
        state, tokens = following[token], (*tokens, token)
    return float(np.exp(log_prob))


SEEN = vocabulary_of(("Pink", "Red"), ("Red", "White"), ("Pink", "White"), ("Pink/Red",), ("Not relevant",))


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sharpness=st.floats(0, 30))
def test_whatever_the_model_says_the_answer_is_a_set_of_the_vocabulary(seed, sharpness):
    grammar = Grammar(SEEN, TOKENIZER)
    for ranked in rank(RandomLanguage(seed, sharpness), [grammar] * 2, beam=3):
        assert 1 <= len(ranked) <= 3
        for answers, _ in ranked:
            assert SEEN.canonical(answers) == answers
            assert all(b in SEEN.companions[a] for a, b in combinations(answers, 2))
        assert [p for _, p in ranked] == sorted((p for _, p in ranked), reverse=True)


def test_a_full_beam_equals_brute_force_over_all_answers():
    language, grammar = RandomLanguage(3, 1.0), Grammar(SEEN, TOKENIZER)
    members = [m for m in SEEN.members if m in ("Pink", "Red", "White")]
    possible = [SEEN.canonical(c) for size in (1, 2, 3) for c in combinations(members, size)]
    possible += [("Pink/Red",), ("Not relevant",)]
    expected = {answer: brute_force(language, grammar, answer) for answer in possible}
    assert sum(expected.values()) == pytest.approx(1.0, abs=1e-5)
    for options in ({"beam": 50}, {"beam": 1, "short": 50}):  # a full beam, and a list short enough to rank it all
        (ranked,) = rank(language, [grammar], **options)
        assert dict(ranked) == pytest.approx(expected, abs=1e-5)


def test_an_answer_whose_spelling_begins_another_can_be_told_from_it():
    entry = vocabulary_of(("zz",), ("zzz",), ("zz", "a"))
    grammar = Grammar(entry, TOKENIZER)
    (ranked,) = rank(RandomLanguage(0, 0.1), [grammar], beam=20)
    assert {answers for answers, _ in ranked} == {("zz",), ("zzz",), ("a",), entry.canonical(("zz", "a"))}
    assert sum(p for _, p in ranked) == pytest.approx(1.0, abs=1e-5)


def test_members_that_training_never_joins_are_never_joined():
    grammar = Grammar(vocabulary_of(("Pink", "Red"), ("Not relevant",)), TOKENIZER)
    (ranked,) = rank(RandomLanguage(1, 0.1), [grammar], beam=20)
    assert {answers for answers, _ in ranked} == {("Pink",), ("Red",), ("Pink", "Red"), ("Not relevant",)}


def test_pairs_do_not_disturb_each_other():
    language = RandomLanguage(5, 2.0)
    grammars = [Grammar(SEEN, TOKENIZER), Grammar(vocabulary_of(("Yes",), ("No",)), TOKENIZER)] * 2
    together = rank(language, grammars, beam=4)
    alone = [rank(language, [grammar], beam=4)[0] for grammar in grammars]
    assert together == alone


def test_a_member_has_the_same_tokens_in_every_set():
    pink, red = TOKENIZER.encode("Pink"), TOKENIZER.encode("Red")
    assert TOKENIZER.encode_answer(("Pink", "Red")) == [*pink, *TOKENIZER.separator, *red, TOKENIZER.end]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), longest=st.integers(1, 12))
def test_where_training_kept_answers_short_decoding_does_too(seed, longest):
    entry = vocabulary_of(("Pink", "Red", "White", "Pale Pink"), ("burgundy-like violet",))
    (every,), (short,) = (
        rank(RandomLanguage(seed, 1.0), [Grammar(entry, TOKENIZER, limit)], beam=50, short=50) for limit in (0, longest)
    )
    fits = {a for a, _ in every if len(a) == 1 or len(TOKENIZER.encode_answer(a)) <= longest}
    assert {answers for answers, _ in short} == fits
    assert len(every) == 16
    assert sum(p for _, p in short) == pytest.approx(1.0, abs=1e-5)
