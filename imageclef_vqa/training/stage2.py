"""Stage 2, generative fine-tuning: the language model answers from visual tokens (paper, section 2.3).

Trained are projection, Q-Former and vision's last norm, the rest of vision if the recipe says so, and a language model
that has no weights to start from, by the log-probability of the answers' tokens. Any other language model is frozen,
but may have low-rank adapters, which are trained.
An image and its questions are one unit: vision and Q-Former run once per image, forward and backward.

i images, n pairs, q queries, w width of the language model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import paddle
from paddle import Tensor, nn

from imageclef_vqa.checkpoints.pretrained import trained_tensors
from imageclef_vqa.devices import bucketed
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.dropout import part_rows
from imageclef_vqa.models.language import Memory
from imageclef_vqa.models.language.adapters import adapters
from imageclef_vqa.training.context import StageContext
from imageclef_vqa.training.images import VisionFeatures
from imageclef_vqa.training.loop import train
from imageclef_vqa.training.pairs import Batch, Pair, PairTable, pad
from imageclef_vqa.training.parallel import Shard

# Answers of at most this many tokens are computed apart from longer ones, which would pad them: one value and the end,
# or a sentence without a list in it.
SHORT, SHORT_SENTENCE = 2, 16


def trainable(*, vision: bool, language: bool = False, blocks: Iterable[int] = ()) -> dict[str, bool]:
    """Pattern of parameter names → whether they are trained; each parameter matches exactly one line.

    `vision` stands for all of vision, and `blocks` are trained in any case.
    """
    chosen = rf"layers\.({'|'.join(map(str, blocks)) or 'none'})\."
    return {
        rf"vision\.(?!norm\.|{chosen}).*": vision,
        rf"vision\.{chosen}.*": True,
        r"vision\.norm\..*": True,  # LAVIS trains `ln_vision` beside a frozen encoder, too
        # The Q-Former reads text only in stage 1.
        r"qformer\.(words|positions)\..*|qformer\..*\.text_mlp\..*": False,
        r"qformer\.(?!words|positions)(?!.*text_mlp).*": True,
        r"projection\..*": True,
        r"language\.(?!.*\.lora_[AB]$).*": language,
        r"language\..*\.lora_[AB]": True,
    }


def learn_to_answer(context: StageContext) -> dict[str, Tensor]:
    """Train on all questions of each image; returns the trained tensors by name."""
    model, recipe, pairs = context.model, context.recipe, context.train.pairs
    learns_language = model.preset.learns_language
    train_features = VisionFeatures(context, context.train)
    val_features = VisionFeatures(context, context.val)

    def losses(shard: Shard, _rng: np.random.Generator) -> dict[str, Tensor]:
        model.train()
        if not learns_language:
            model.language.eval()  # without its dropout
            for layer in adapters(model.language):
                layer.train()
        visual = model.encode_features(train_features(shard.own))
        parts = {}
        if recipe.answer_weight:
            with shard.dropout_pairs():
                loss = answer_loss(model, visual, shard.own, pairs)
            parts["answers"] = shard.pair_weight * recipe.answer_weight * loss
        if recipe.word_weight:
            parts["words"] = shard.pair_weight * recipe.word_weight * word_loss(model, visual, shard.own, pairs)
        return parts

    train(
        context,
        model,
        trainable(
            vision=not recipe.freeze_vision,
            language=learns_language,
            blocks=_last_blocks(model, recipe.unfreeze),
        ),
        losses,
        questions=recipe.questions,
        validate=lambda: _validate(context, val_features),
        # Of sentences, few are exactly right, and the loss is less noisy.
        score=lambda found: -found["val_answers"] if pairs.open else found["val_exact"],
    )
    return trained_tensors(model, vision=recipe.trains_vision)


def _last_blocks(model: Blip2, count: int) -> range:
    """The indices of vision's last blocks."""
    blocks = model.preset.vision.layers
    return range(max(0, blocks - count), blocks)


def _validate(context: StageContext, features: VisionFeatures) -> dict[str, float]:
    """Loss per pair, and the share of exact answers; empty without validation images.

    The share is averaged over closed questions. Open ones are all different, and count as one.
    """
    model, recipe, pairs = context.model, context.recipe, context.val.pairs
    model.eval()
    loss, right, asked = 0.0, np.zeros(len(QUESTIONS)), np.zeros(len(QUESTIONS))
    with paddle.no_grad():
        for batch in context.processes.own(pairs.all(-(-recipe.batch // recipe.accumulate))):
            for pair, log_prob, greedy in _answers(model, model.encode_features(features(batch)), batch, pairs):
                loss -= log_prob
                question = 0 if pairs.open else pair.question_id
                right[question] += greedy and _fits(pair, recipe.answer_tokens)
                asked[question] += 1
    loss, *counts = context.processes.sum([loss, *right, *asked])
    right, asked = np.split(np.array(counts), 2)
    answered = asked.sum()
    if not answered:
        return {}
    for question_id, count in pairs.unanswerable.items():
        asked[question_id] += count  # an answer outside the vocabulary counts as wrong
    return {"val_answers": loss / answered, "val_exact": float((right[asked > 0] / asked[asked > 0]).mean())}


def _fits(pair: Pair, longest: int) -> bool:
    """Whether decoding may write the whole answer (`inference.grammar`)."""
    return not longest or len(pair.tokens) <= longest or len(pair.answer) == 1


def answer_loss(model: Blip2, visual: Tensor, batch: Batch, table: PairTable) -> Tensor:
    """Negative log-probability of the answers, summed over tokens, averaged over pairs; `visual` [i, q, w] → []."""
    total = paddle.zeros([])
    for _, memory, answer in _by_length(model, visual, batch, table):
        log_probs = model.language.answer_log_probs(memory, answer)
        total = total - (log_probs * (answer != 0).astype("float32")).sum()
    return total / len(batch.pairs)


def _answers(model: Blip2, visual: Tensor, batch: Batch, table: PairTable) -> Iterator[tuple[Pair, float, bool]]:
    """Each pair, the log-probability of its answer, and whether greedy decoding would give exactly this answer."""
    for indices, memory, answer in _by_length(model, visual, batch, table):
        logits, padding = model.language.answer_logits(memory, answer).astype("float32"), answer == 0
        log_probs = -nn.functional.cross_entropy(logits, answer, reduction="none").squeeze(-1)
        sums = (log_probs * (~padding).astype("float32")).sum(axis=1).numpy()
        greedy = ((logits.argmax(axis=-1) == answer) | padding).all(axis=1).numpy()
        for index, log_prob, right in zip(indices, sums, greedy, strict=False):  # without the filling rows
            yield batch.pairs[index], float(log_prob), bool(right)


def _by_length(
    model: Blip2, visual: Tensor, batch: Batch, table: PairTable
) -> Iterator[tuple[np.ndarray, Memory, Tensor]]:
    """First short answers, then longer ones: indices of the pairs, the language model's memory, answer tokens.

    On an NPU, rows that repeat the first pair without an answer are appended, so that few shapes are compiled.
    """
    lengths = np.array([len(pair.tokens) for pair in batch.pairs])
    short = SHORT_SENTENCE if table.open else SHORT
    for indices in (np.flatnonzero(lengths <= short), np.flatnonzero(lengths > short)):
        if len(indices):
            more = bucketed(len(indices)) - len(indices)
            rows = np.append(indices, np.repeat(indices[:1], more))
            question = pad([table.questions[batch.pairs[row].question_id] for row in rows], bucketed)
            answers = [batch.pairs[index].tokens for index in indices] + [[]] * more
            with part_rows(rows, len(batch.pairs)):
                memory = model.read(
                    visual,
                    paddle.to_tensor(batch.image_of_pair[rows]),
                    paddle.to_tensor(question),
                    paddle.to_tensor((question != 0).astype("int64")),
                )
                yield indices, memory, paddle.to_tensor(pad(answers, bucketed))


def word_loss(model: Blip2, visual: Tensor, batch: Batch, table: PairTable) -> Tensor:
    """Mean squared distance of visual token q from the embedded words of the answer to question q: [i, q, w] → [].

    Only for a language model that reads a statement as the sum of its words (`synthetic.tiny_language`). Where the
    image does not show the answer, the token becomes the mean of the possible sums, which that model reads as doubt.
    """
    words = np.zeros((len(batch.pairs), model.language.vocabulary), "float32")
    for row, pair in zip(words, batch.pairs, strict=True):
        for token in table.statement(pair):
            row[token] += 1.0
    target = paddle.matmul(paddle.to_tensor(words), model.language.token_embedding)
    asked = np.stack([batch.image_of_pair, [pair.question_id for pair in batch.pairs]], axis=1)
    return paddle.square(paddle.gather_nd(visual, paddle.to_tensor(asked)) - target).mean()
