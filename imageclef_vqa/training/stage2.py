"""Stage 2, generative fine-tuning: the frozen language model answers from visual tokens (paper, section 2.3).

Projection and Q-Former learn, and vision where the recipe says so, from the log-probability of the answer's tokens.
An image and its questions are one unit: vision and Q-Former run once per image, forward and backward.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import paddle
from paddle import Tensor, nn

from imageclef_vqa.checkpoints.pretrained import trained_tensors
from imageclef_vqa.devices import bucketed
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.language import Memory
from imageclef_vqa.training.images import Patches
from imageclef_vqa.training.loop import train
from imageclef_vqa.training.pairs import Batch, Pair, PairTable, pad
from imageclef_vqa.training.parallel import Shard
from imageclef_vqa.training.run import Run

# Answers of at most so many tokens (one value and the end) are read apart from longer sets, which would pad them.
SHORT = 2


def learns(*, vision: bool) -> dict[str, bool]:
    """What learns: a pattern of names → whether; every parameter is covered by exactly one line."""
    return {
        r"vision\..*": vision,
        # The Q-Former's words and its perceptrons for text speak in stage 1 alone.
        r"qformer\.(words|positions)\..*|qformer\..*\.text_mlp\..*": False,
        r"qformer\.(?!words|positions)(?!.*text_mlp).*": True,
        r"projection\..*": True,
        r"language\..*": False,
    }


def learn_to_answer(run: Run) -> dict[str, Tensor]:
    """Train on all questions of each image; returns the trained tensors by name."""
    model, recipe = run.model, run.recipe
    train_patches, val_patches = Patches(run, run.train), Patches(run, run.val)

    def losses(share: Shard, _rng: np.random.Generator) -> dict[str, Tensor]:
        model.train()
        model.language.eval()  # frozen, so without its dropout
        batch = share.own
        visual = model.encode_patches(train_patches(batch))
        parts = {}
        if recipe.answer_weight:
            parts["answers"] = share.pairs * recipe.answer_weight * answer_loss(model, visual, batch, run.train.pairs)
        if recipe.word_weight:
            parts["words"] = share.pairs * recipe.word_weight * word_loss(model, visual, batch, run.train.pairs)
        return parts

    def validate() -> dict[str, float]:
        model.eval()
        loss, right, asked = 0.0, np.zeros(len(QUESTIONS)), np.zeros(len(QUESTIONS))
        with paddle.no_grad():
            for batch in run.processes.own(run.val.pairs.all(-(-recipe.batch // recipe.accumulate))):
                visual = model.encode_patches(val_patches(batch))
                for pair, log_prob, greedy in _answers(model, visual, batch, run.val.pairs):
                    loss -= log_prob
                    right[pair.question_id] += greedy and pair.whole
                    asked[pair.question_id] += 1
        loss, *counts = run.processes.sum([loss, *right, *asked])
        right, asked = np.split(np.array(counts), 2)
        said = asked.sum()
        for question_id, count in run.val.pairs.unsayable.items():
            asked[question_id] += count  # what training never answers cannot be answered right
        if not said:
            return {}
        return {"val_answers": loss / said, "val_exact": float((right[asked > 0] / asked[asked > 0]).mean())}

    train(
        run,
        model,
        learns(vision=not recipe.freeze_vision),
        losses,
        questions=recipe.questions,
        validate=validate,
        score=lambda found: found["val_exact"],
    )
    return trained_tensors(model, vision=not recipe.freeze_vision)


def answer_loss(model: Blip2, visual: Tensor, batch: Batch, table: PairTable) -> Tensor:
    """Negative log-probability of the answers, summed over tokens, mean over pairs; `visual` [i, q, w]."""
    total = paddle.zeros([])
    for _, memory, answer in _by_length(model, visual, batch, table):
        log_probs = model.language.answer_log_probs(memory, answer)
        total = total - (log_probs * (answer != 0).astype("float32")).sum()
    return total / len(batch.pairs)


def _answers(model: Blip2, visual: Tensor, batch: Batch, table: PairTable) -> Iterator[tuple[Pair, float, bool]]:
    """Each pair with the log-probability of its answer, and whether greedy decoding would say exactly this answer."""
    for places, memory, answer in _by_length(model, visual, batch, table):
        logits, padding = model.language.answer_logits(memory, answer).astype("float32"), answer == 0
        log_probs = -nn.functional.cross_entropy(logits, answer, reduction="none").squeeze(-1)
        sums = (log_probs * (~padding).astype("float32")).sum(axis=1).numpy()
        greedy = ((logits.argmax(axis=-1) == answer) | padding).all(axis=1).numpy()
        for place, log_prob, right in zip(places, sums, greedy, strict=False):  # without the rows that follow
            yield batch.pairs[place], float(log_prob), bool(right)


def _by_length(
    model: Blip2, visual: Tensor, batch: Batch, table: PairTable
) -> Iterator[tuple[np.ndarray, Memory, Tensor]]:
    """Short answers and longer ones: places of the pairs, the language model's reading of them, answer tokens.

    On an NPU, rows follow that repeat the first pair with no answer: so that few shapes are seen there.
    """
    lengths = np.array([len(pair.tokens) for pair in batch.pairs])
    for places in (np.flatnonzero(lengths <= SHORT), np.flatnonzero(lengths > SHORT)):
        if len(places):
            more = bucketed(len(places)) - len(places)
            rows = np.append(places, np.repeat(places[:1], more))
            question = pad([table.questions[batch.pairs[row].question_id] for row in rows], bucketed)
            memory = model.read(
                visual,
                paddle.to_tensor(batch.image_of_pair[rows]),
                paddle.to_tensor(question),
                paddle.to_tensor((question != 0).astype("int64")),
            )
            answers = [batch.pairs[place].tokens for place in places] + [[]] * more
            yield places, memory, paddle.to_tensor(pad(answers, bucketed))


def word_loss(model: Blip2, visual: Tensor, batch: Batch, table: PairTable) -> Tensor:
    """How far visual token q is from the words of the statement that answers question q: mean square, [i, q, w] → [].

    Only for a language model that reads a statement as the sum of its words (`tiny_language`). What cannot be told
    from the image becomes the mean of the possible sums, which that model reads as doubt.
    """
    words = np.zeros((len(batch.pairs), model.language.vocabulary), "float32")
    for row, pair in zip(words, batch.pairs, strict=True):
        for token in table.statement(pair):
            row[token] += 1.0
    target = paddle.matmul(paddle.to_tensor(words), model.language.token_embedding)
    asked = np.stack([batch.image_of_pair, [pair.question_id for pair in batch.pairs]], axis=1)
    return paddle.square(paddle.gather_nd(visual, paddle.to_tensor(asked)) - target).mean()
