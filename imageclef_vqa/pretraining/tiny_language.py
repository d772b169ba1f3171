"""Train the language model of the `tiny` preset: `python -m imageclef_vqa.pretraining.tiny_language FOLDER`.

A T5 with 0.7 million parameters learns to answer the 18 questions from statements in text, such as "abnormality color
Pink Red". It sees no images. A statement enters the model as one vector, the sum of the embeddings of its words, at the
position where BLIP-2 puts a visual token. A Q-Former can therefore be trained to tell this model something as a sum of
words. Half of the statements are ambiguous: they mix the words of two answers with weights w and 1 - w, and the target
is one of the two with these probabilities, so that the model learns to express doubt as probability.

Writes `language.safetensors` and `spiece.model`. Takes about 15 minutes on two cores.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import sentencepiece

from imageclef_vqa import devices
from imageclef_vqa.editions import NOT_RELEVANT, QUESTIONS, Question
from imageclef_vqa.models.presets import PRESETS

if TYPE_CHECKING:
    from imageclef_vqa.models.language import Tokenizer

STEPS = 3000
CONTEXTS = 32  # per step; a context has a statement for each question
QUESTIONS_PER_CONTEXT = 5
LEARNING_RATE = 2e-3
MAX_MEMBERS = 9  # of a set: all locations
NOISE = 0.3  # standard deviation of the noise that is added to each statement; the embeddings of words have 1
VOCABULARY = 512

_SINGLE = {NOT_RELEVANT, "No"}  # never together with other members


def train_tokenizer(folder: Path) -> None:
    """Write `spiece.model`: one piece for each known answer and each word of the questions, bytes for the rest."""
    answers = sorted({answer for question in QUESTIONS for answer in question.known})
    spellings = [spelling for question in QUESTIONS for spelling in question.spellings]
    topics = [question.topic for question in QUESTIONS]
    words = sorted({word.rstrip("?") for text in (*spellings, *topics) for word in text.split()})
    pieces = dict.fromkeys(["▁", "▁;", *("▁" + piece.replace(" ", "▁") for piece in (*answers, *words))])
    corpus = [f"{spelling} {answer}" for spelling in spellings for answer in answers]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus),
        model_prefix=str(folder / "spiece"),
        vocab_size=VOCABULARY,
        hard_vocab_limit=False,
        user_defined_symbols=list(pieces),
        byte_fallback=True,
        normalization_rule_name="identity",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "spiece.vocab").unlink()


def random_answer(question: Question, rng: np.random.Generator) -> tuple[str, ...]:
    """A random answer that the question allows: one value, or a set in canonical order."""
    if not question.takes_a_set:
        return (str(rng.choice(question.known)),)
    if (single := [answer for answer in question.known if answer in _SINGLE]) and rng.random() < 0.25:
        return (str(rng.choice(single)),)
    members = [answer for answer in question.known if answer not in _SINGLE]
    size = int(rng.integers(1, min(len(members), MAX_MEMBERS) + 1)) if rng.random() < 0.3 else int(rng.integers(1, 4))
    chosen = rng.choice(len(members), size=min(size, len(members)), replace=False)
    return tuple(members[index] for index in sorted(chosen))


class Batches:
    """Random batches of statements and questions; v words in the vocabulary, `slots` visual tokens per context."""

    def __init__(self, tokenizer: Tokenizer, slots: int, vocabulary: int, seed: int) -> None:
        self._tokenizer, self._slots, self._vocabulary = tokenizer, slots, vocabulary
        self._topics = [tokenizer.encode(question.topic) for question in QUESTIONS]
        self._questions = [tokenizer.encode(question.text) for question in QUESTIONS]
        self._rng = np.random.default_rng(seed)

    def draw(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights of words [contexts, slots, v]; token ids of questions and of answers, both [pairs, tokens]."""
        words = np.zeros((CONTEXTS, self._slots, self._vocabulary), "float32")
        asked, answers = [], []
        for context in words:
            statements = [self._statement(question) for question in QUESTIONS]
            context[self._rng.permutation(self._slots)[: len(statements)]] = [weights for weights, _ in statements]
            for question in self._rng.choice(len(QUESTIONS), QUESTIONS_PER_CONTEXT, replace=False):
                asked.append(self._questions[question])
                answers.append(statements[question][1])
        return words, _pad(asked, max(map(len, self._questions))), _pad(answers, max(map(len, answers)))

    def _statement(self, question: Question) -> tuple[np.ndarray, list[int]]:
        """Weights of the words [v] of a statement, and the tokens of the answer to its question."""
        rng = self._rng
        one, other = random_answer(question, rng), random_answer(question, rng)
        odds = 1.0 if rng.random() < 0.5 else float(rng.random())
        words = np.zeros(self._vocabulary, "float32")
        for answer, share in ((one, odds), (other, 1 - odds)):
            for member in answer:
                words[self._tokenizer.encode(member)] += share
        words[self._topics[question.id]] += 1.0
        return words, self._tokenizer.encode_answer(one if rng.random() < odds else other)


def _pad(sequences: list[list[int]], length: int) -> np.ndarray:
    return np.array([ids + [0] * (length - len(ids)) for ids in sequences])


def main(folder: Path) -> None:
    """Train the tokenizer, then the model."""
    folder.mkdir(parents=True, exist_ok=True)
    train_tokenizer(folder)
    devices.prepare("cpu", seed=0)
    import paddle

    from imageclef_vqa.checkpoints.layers import own_tensors, save_weights
    from imageclef_vqa.models.language import Tokenizer
    from imageclef_vqa.models.language.languages import build_language

    preset = PRESETS["tiny"]
    model = build_language(preset.language)
    tokenizer = Tokenizer(folder / "spiece.model")
    batches = Batches(tokenizer, preset.qformer.queries, preset.language.vocab_size, seed=0)
    schedule = paddle.optimizer.lr.LinearWarmup(
        paddle.optimizer.lr.CosineAnnealingDecay(LEARNING_RATE, STEPS), 200, 0.0, LEARNING_RATE
    )
    clip = paddle.nn.ClipGradByGlobalNorm(1.0)
    optimizer = paddle.optimizer.AdamW(schedule, parameters=model.parameters(), weight_decay=0.01, grad_clip=clip)
    for step in range(1, STEPS + 1):
        words, question, answer = map(paddle.to_tensor, batches.draw())
        statements = paddle.matmul(words, model.token_embedding)
        statements = statements + NOISE * paddle.randn(statements.shape)
        statements = paddle.repeat_interleave(statements, QUESTIONS_PER_CONTEXT, axis=0)
        memory = model.encode(statements, question, (question != 0).astype("int64"))
        mask = (answer != 0).astype("float32")
        loss = -(model.answer_log_probs(memory, answer) * mask).sum() / mask.sum()
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}: {float(loss):.4f} nats per token", flush=True)
    save_weights(folder / "language.safetensors", own_tensors(model.model))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
