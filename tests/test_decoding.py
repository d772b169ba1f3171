"""Decoding gives only allowed answers, and its probabilities are a distribution over them."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imageclef_vqa.editions import NOT_RELEVANT, QUESTIONS, learn_vocabulary
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inference.answerer import Answerer
from imageclef_vqa.inference.decoding import NO_ANSWER, generate, rank_answers
from imageclef_vqa.inference.grammar import START, Grammar
from imageclef_vqa.inference.trie import Trie
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.language import Tokenizer
from imageclef_vqa.models.presets import TINY_WEIGHTS, find_preset
from imageclef_vqa.synthetic import sample_scene

TOKENIZER = Tokenizer(TINY_WEIGHTS / "spiece.model")


class TokensSoFar(NamedTuple):
    """A memory of nothing but the tokens of each row."""

    tokens: list[tuple[int, ...]]

    def rows(self, rows: paddle.Tensor) -> "TokensSoFar":
        return TokensSoFar([self.tokens[row] for row in rows.tolist()])


class TextOnly:
    """A language model whose logits `batch` computes from the tokens of each row."""

    start = 0

    def head(self, tokens: paddle.Tensor) -> paddle.Tensor:
        return tokens

    def step(
        self, memory: TokensSoFar, tokens: paddle.Tensor, head: paddle.Tensor | None = None
    ) -> tuple[paddle.Tensor, TokensSoFar]:
        said = [(*before, token) for before, token in zip(memory.tokens, tokens.tolist(), strict=True)]
        logits = paddle.to_tensor(self.batch(said))
        return logits if head is None else logits.index_select(head, axis=1), TokensSoFar(said)


class RandomLanguage(TextOnly):
    """A language model whose next token depends on the tokens so far, by a fixed random table, and on nothing else."""

    def __init__(self, seed: int, sharpness: float) -> None:
        self.seed, self.sharpness = seed, sharpness

    def logits(self, tokens: tuple[int, ...]) -> np.ndarray:
        rng = np.random.default_rng([self.seed, *tokens])
        return (rng.standard_normal(len(TOKENIZER)) * self.sharpness).astype("float32")

    def batch(self, said: list[tuple[int, ...]]) -> np.ndarray:
        return np.stack([self.logits(each) for each in said])


def vocabulary_of(*answers: tuple[str, ...]):
    return learn_vocabulary([(5, answer) for answer in answers])[5]


def memory_of(pairs: int) -> TokensSoFar:
    return TokensSoFar([()] * pairs)


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
def test_every_answer_is_a_set_of_the_vocabulary(seed, sharpness):
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


def test_pairs_do_not_affect_each_other():
    language = RandomLanguage(5, 2.0)
    grammars = [Grammar(SEEN, TOKENIZER), Grammar(vocabulary_of(("Yes",), ("No",)), TOKENIZER)] * 2
    together = rank(language, grammars, beam=4)
    alone = [rank(language, [grammar], beam=4)[0] for grammar in grammars]
    assert together == alone


def test_a_member_has_the_same_tokens_in_every_set():
    pink, red = TOKENIZER.encode("Pink"), TOKENIZER.encode("Red")
    assert TOKENIZER.encode_answer(("Pink", "Red")) == [*pink, *TOKENIZER.separator, *red, TOKENIZER.end]


# As training labels have it: 600 scenes, their sets of places and colours as varied as the real ones.
SCENES = [sample_scene(np.random.default_rng([3, number])).answers() for number in range(600)]
VOCABULARY = learn_vocabulary(pair for scene in SCENES for pair in scene.items())
TRIE = Trie([Grammar(entry, TOKENIZER) for entry in VOCABULARY.questions])


def check_valid(question, ranked):
    """What an answer may be, told without the grammar: known strings in canonical order, none twice, each two of them
    seen together in training."""
    entry = VOCABULARY[question]
    together = [set(members) for members, _ in entry.sets]
    for answers, probability in ranked:
        places = [entry.members.index(answer) for answer in answers]
        assert places == sorted(set(places))
        assert len(answers) == 1 or NOT_RELEVANT not in answers
        assert all(any({a, b} <= members for members in together) for a, b in combinations(answers, 2))
        assert 0 <= probability <= 1
    assert ranked
    assert len({answers for answers, _ in ranked}) == len(ranked)
    assert [p for _, p in ranked] == sorted((p for _, p in ranked), reverse=True)
    assert sum(p for _, p in ranked) <= 1 + 1e-9


class Noise(TextOnly):
    """A language model whose every logit is drawn anew; it counts the rows of logits that it gave."""

    def __init__(self, seed: int, scale: float) -> None:
        self.rng, self.scale, self.rows = np.random.default_rng(seed), np.float32(scale), 0

    def batch(self, said: list[tuple[int, ...]]) -> np.ndarray:
        self.rows += len(said)
        return self.scale * self.rng.standard_normal((len(said), len(TOKENIZER)), "float32")


def test_ten_thousand_random_logits_of_any_size_give_only_valid_answers():
    rows = 0

    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.0, 1e-30, 0.1, 1.0, 5.0, 30.0, 1e4, 1e30]))
    def any_logits(seed, scale):
        nonlocal rows
        language, questions = Noise(seed, scale), np.tile(np.arange(len(QUESTIONS)), 5)
        for question, ranked in zip(
            questions, rank_answers(language, memory_of(len(questions)), TRIE, questions), strict=True
        ):
            check_valid(question, ranked)
        rows += language.rows

    any_logits()
    assert rows >= 10_000


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.01, 0.2, 1.0, 20.0]))
def test_a_model_of_random_weights_gives_only_valid_answers(seed, scale):
    rng, model = np.random.default_rng(seed), Blip2(find_preset("tiny"))
    for parameter in model.parameters():
        parameter.set_value(np.float32(scale) * rng.standard_normal(parameter.shape, "float32"))
    pixels = rng.integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    for of_image in Answerer(model, TOKENIZER, VOCABULARY).rank(pixels):
        for question, ranked in enumerate(of_image):
            check_valid(question, ranked)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_an_error(value):
    class Broken(RandomLanguage):
        def logits(self, tokens):
            return np.full(len(TOKENIZER), value, dtype="float32")

    with pytest.raises(MedvqaError, match="not finite"):
        rank(Broken(0, 1.0), [Grammar(SEEN, TOKENIZER)], beam=3)
    with pytest.raises(MedvqaError, match="not finite"):
        generate(Broken(0, 1.0), memory_of(2), TOKENIZER, 2)


class Saying(RandomLanguage):
    """A language model that is sure of its text."""

    def __init__(self, tokens: list[int]) -> None:
        super().__init__(0, 0.01)
        self.text = tokens

    def logits(self, tokens: tuple[int, ...]) -> np.ndarray:
        logits = super().logits(tokens)
        logits[self.text[min(len(tokens), len(self.text)) - 1]] = 50.0
        return logits


def test_free_answers_are_the_papers_one_string_of_ten_tokens():
    whole = TOKENIZER.encode_answer(("Pink", "Red"))
    (((answers, probability),),) = generate(Saying(whole), memory_of(1), TOKENIZER, 1)
    assert answers == ("Pink ; Red",)
    assert probability == pytest.approx(1, abs=1e-6)
    endless = TOKENIZER.encode("Upper-left") * 20
    (((answers, _),),) = generate(Saying(endless), memory_of(1), TOKENIZER, 1)
    assert TOKENIZER.encode(answers[0]) == endless[:10]


def test_an_empty_free_answer_is_marked():
    for text in ([TOKENIZER.end], [TOKENIZER.pad], [*TOKENIZER.encode(" "), TOKENIZER.end]):
        assert generate(Saying(text), memory_of(1), TOKENIZER, 1)[0][0][0] == (NO_ANSWER,)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), longest=st.integers(1, 12))
def test_decoding_keeps_the_limit_on_tokens_of_training(seed, longest):
    entry = vocabulary_of(("Pink", "Red", "White", "Pale Pink"), ("burgundy-like violet",))
    (every,), (short,) = (
        rank(RandomLanguage(seed, 1.0), [Grammar(entry, TOKENIZER, limit)], beam=50, short=50) for limit in (0, longest)
    )
    fits = {a for a, _ in every if len(a) == 1 or len(TOKENIZER.encode_answer(a)) <= longest}
    assert {answers for answers, _ in short} == fits
    assert len(every) == 16
    assert sum(p for _, p in short) == pytest.approx(1.0, abs=1e-5)
