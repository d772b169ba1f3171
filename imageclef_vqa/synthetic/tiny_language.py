"""Make the language model of the `tiny` preset again: `python -m imageclef_vqa.synthetic.tiny_language FOLDER`.

A T5 of 0.7 million parameters learns, from text alone, to answer the 18 questions from statements such as
"abnormality color Pink Red". It never sees a picture. Each statement reaches it as one soft word, the sum of its
words' embeddings, in the place where BLIP-2 puts a visual token: what a Q-Former has to say to this model afterwards
is therefore a sum of words. Some statements are of two minds (the members of two answers with weights w and 1 - w, the
answer drawn with these odds), so that the model reads doubt as probability.

Writes `language.safetensors` and `spiece.model`. About 15 minutes on two cores.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import sentencepiece

from imageclef_vqa import devices
from imageclef_vqa.editions import NOT_RELEVANT, QUESTIONS, Question
from imageclef_vqa.models.presets import PRESETS

STEPS = 3000
CONTEXTS = 32  # per step
QUESTIONS_PER_CONTEXT = 5
LEARNING_RATE = 2e-3
MOST = 9  # members in a set: all places
NOISE = 0.3  # deviation of what is added to each soft word, whose words have deviation 1
VOCABULARY = 512

_ALONE = {NOT_RELEVANT, "No"}


def train_tokenizer(folder: Path) -> None:
    """Write `spiece.model`: known answers and the questions' words whole, bytes for the rest."""
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
    """Any answer that the question allows: one value, or a set in canonical order."""
    if not question.takes_a_set:
        return (str(rng.choice(question.known)),)
    if (alone := [answer for answer in question.known if answer in _ALONE]) and rng.random() < 0.25:
        return (str(rng.choice(alone)),)
    members = [answer for answer in question.known if answer not in _ALONE]
    size = int(rng.integers(1, min(len(members), MOST) + 1)) if rng.random() < 0.3 else int(rng.integers(1, 4))
    chosen = rng.choice(len(members), size=min(size, len(members)), replace=False)
    return tuple(members[place] for place in sorted(chosen))


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    train_tokenizer(folder)
    devices.prepare("cpu", seed=0)
    import paddle

    from imageclef_vqa.checkpoints.layers import own_tensors, save_weights
    from imageclef_vqa.models.language import Tokenizer

    tokenizer = Tokenizer(folder / "spiece.model")
    preset = PRESETS["tiny"]
    model = preset.language.build()
    slots, width = preset.qformer.queries, preset.language.vocab_size
    topics = [tokenizer.encode(question.topic) for question in QUESTIONS]
    questions = [tokenizer.encode(question.text) for question in QUESTIONS]
    longest = max(map(len, questions))
    rng = np.random.default_rng(0)
    schedule = paddle.optimizer.lr.LinearWarmup(
        paddle.optimizer.lr.CosineAnnealingDecay(LEARNING_RATE, STEPS), 200, 0.0, LEARNING_RATE
    )
    clip = paddle.nn.ClipGradByGlobalNorm(1.0)
    optimizer = paddle.optimizer.AdamW(schedule, parameters=model.parameters(), weight_decay=0.01, grad_clip=clip)

    def statement(question: Question) -> tuple[np.ndarray, list[int]]:
        """Word weights [v] of a statement, and the answer that follows from it."""
        one, other = random_answer(question, rng), random_answer(question, rng)
        odds = 1.0 if rng.random() < 0.5 else float(rng.random())
        words = np.zeros(width, "float32")
        for answer, share in ((one, odds), (other, 1 - odds)):
            for member in answer:
                words[tokenizer.encode(member)] += share
        words[topics[question.id]] += 1.0
        return words, tokenizer.encode_answer(one if rng.random() < odds else other)

    def batch() -> tuple[np.ndarray, ...]:
        words = np.zeros((CONTEXTS, slots, width), "float32")
        asked, answers = [], []
        for context in words:
            said = [statement(question) for question in QUESTIONS]
            context[rng.permutation(slots)[: len(said)]] = [weights for weights, _ in said]
            for question in rng.choice(len(QUESTIONS), QUESTIONS_PER_CONTEXT, replace=False):
                asked.append(questions[question])
                answers.append(said[question][1])
        most = max(map(len, answers))
        question = np.array([ids + [0] * (longest - len(ids)) for ids in asked])
        answer = np.array([ids + [0] * (most - len(ids)) for ids in answers])
        return words, question, answer

    for step in range(1, STEPS + 1):
        words, question, answer = map(paddle.to_tensor, batch())
        soft = paddle.matmul(words, model.token_embedding)
        soft = soft + NOISE * paddle.randn(soft.shape)
        soft = paddle.repeat_interleave(soft, QUESTIONS_PER_CONTEXT, axis=0)
        memory = model.encode(soft, question, (question != 0).astype("int64"))
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
