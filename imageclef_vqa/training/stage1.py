"""Stage 1, representation learning: the Q-Former learns to read the image (BLIP-2, section 3.2; paper, section 2.3).

Vision, except for its last norm, and the language model are frozen. From statements such as "What color is the
abnormality? Pink; Red" three losses are summed, named as in BLIP-2:

    itc  image-text contrastive learning: an image's queries come close to its statement, and stay away from others
    itm  image-text matching: does the statement hold for the image? With the hardest statements that do not hold
    itg  image-grounded text generation: write the statement, given the image and the tokens so far

Answers repeat across images: every statement that an image's own labels make true is a positive for it.

i images and their i statements, g of a group, o of a process, q queries, p patches, t tokens, d width, s shared width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import paddle
from paddle import Tensor, nn

from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.dropout import batch_rows
from imageclef_vqa.models.pretraining_heads import PretrainingHeads, cosine
from imageclef_vqa.models.qformer import CrossKV, KeysAndValues
from imageclef_vqa.training.context import StageContext
from imageclef_vqa.training.images import VisionFeatures
from imageclef_vqa.training.loop import train
from imageclef_vqa.training.pairs import Batch, Pair, PairTable, pad
from imageclef_vqa.training.parallel import Shard

LOSSES = ("itc", "itm", "itg")
# Pattern of parameter names → whether they are trained (paper, section 2.3); each parameter matches exactly one line.
TRAINABLE = {
    r"blip2\.vision\.(?!norm\.).*": False,
    r"blip2\.vision\.norm\..*": True,  # LAVIS trains `ln_vision` beside the frozen encoder
    r"blip2\.qformer\..*": True,
    r"blip2\.projection\..*": False,
    r"blip2\.language\..*": False,
    r"heads\..*": True,
}


class Stage1(nn.Layer):
    """BLIP-2 with the heads of stage 1 on its Q-Former."""

    def __init__(self, blip2: Blip2, heads: PretrainingHeads) -> None:
        super().__init__()
        self.blip2, self.heads = blip2, heads


def learn_representation(context: StageContext, heads: PretrainingHeads) -> dict[str, Tensor]:
    """Train Q-Former, heads and vision's norm on one statement per image and step.

    Returns the tensors that stage 2 goes on from, by name: those of Q-Former and norm.
    """
    model = Stage1(context.model, heads)
    train_features = VisionFeatures(context, context.train)
    val_features = VisionFeatures(context, context.val)

    def losses(shard: Shard, rng: np.random.Generator) -> dict[str, Tensor]:
        model.train()
        return representation_losses(context.model, heads, train_features(shard.own), context.train.pairs, shard, rng)

    def validate() -> dict[str, float]:
        model.eval()
        return _validate(context, heads, val_features)

    train(
        context,
        model,
        TRAINABLE,
        losses,
        questions=1,
        validate=validate,
        score=lambda found: -sum(found.values()),
    )
    tensors = context.model.state_dict()
    return {name: tensor for name, tensor in tensors.items() if name.startswith(("qformer.", "vision.norm."))}


def _validate(context: StageContext, heads: PretrainingHeads, features: VisionFeatures) -> dict[str, float]:
    """Mean losses over batches, with the same statements and negatives every time; empty without validation images."""
    pairs, rng = context.val.pairs, np.random.default_rng(context.seed)
    sums, own_batches = dict.fromkeys(LOSSES, 0.0), 0
    with paddle.no_grad():
        for number, batch in context.processes.own(enumerate(pairs.epoch(context.recipe.batch, 1, rng))):
            shard, negatives = Shard.single(batch), np.random.default_rng([context.seed, number])
            parts = representation_losses(context.model, heads, features(batch), pairs, shard, negatives)
            sums = {name: total + float(parts[name]) for name, total in sums.items()}
            own_batches += 1
    *totals, count = context.processes.sum([*sums.values(), own_batches])
    return {f"val_{name}": total / count for name, total in zip(LOSSES, totals, strict=True)} if count else {}


def statements(batch: Batch, table: PairTable, longest: int) -> np.ndarray:
    """Token ids [i, t] of each pair's question and answer; the last `longest` tokens of those that are longer."""
    texts = [(table.questions[pair.question_id] + pair.tokens)[-longest:] for pair in batch.pairs]
    # Multiples of 8, so that an NPU compiles few shapes; the same on all devices, because dropout depends on the shape.
    return pad(texts, lambda length: min(longest, -(-length // 8) * 8))


def positives(batch: Batch, table: PairTable) -> np.ndarray:
    """[i, i]: 1 if the labels of image (row) make the statement (column) true; 0 if they contradict it or lack it."""
    own = [
        {pair.question_id: pair.answer for pair in table.pairs_in(view, image)}
        for image, view in zip(batch.images, batch.views, strict=True)
    ]

    def is_true(answers: dict[int, tuple[str, ...]], pair: Pair) -> bool:
        return answers.get(pair.question_id) == pair.answer

    return np.array([[is_true(answers, pair) for pair in batch.pairs] for answers in own], dtype="float32")


def representation_losses(
    model: Blip2, heads: PretrainingHeads, features: Tensor, table: PairTable, shard: Shard, rng: np.random.Generator
) -> dict[str, Tensor]:
    """What `shard` contributes to the losses of its batch, by name; `features` [o, p, d] of its own images.

    Images and statements are compared with those of the whole group, across processes.
    """
    whole = statements(shard.whole, table, longest=len(model.qformer.positions.weight) - 1)  # one token is put in front
    text = paddle.to_tensor(whole).index_select(paddle.to_tensor(shard.group_indices))  # [g, t]
    own = text.index_select(paddle.to_tensor(shard.own_indices))  # [o, t]
    own_states = model.qformer.read_text(*heads.begin_reading(own, _mask(own)))
    image_kv = model.qformer.encode_image(model.vision.norm(features))
    queries, query_kv = model.qformer.read_image(image_kv)
    image = shard.all_gather(heads.shared_image(queries))  # [g, q, s]
    statement = shard.all_gather(heads.shared_text(own_states))  # [g, s]
    similarity = (cosine(image, statement) * _counted_once(heads.scale, shard.processes)).astype("float32")
    positive = positives(shard.group, table)
    itc = itc_loss(similarity, paddle.to_tensor(positive))
    # Every process of the group has the same value, each with the gradient of its own rows.
    itc = itc - itc.detach() * (1 - 1 / shard.processes)
    drawn = _matches(similarity.detach().numpy(), positive, rng)
    itm = _itm_loss(model, heads, image_kv, features, text, drawn, shard)
    tokens = int((whole != 0).sum())
    part = shard.weight * len(shard.group.images) / len(shard.whole.images)
    return {
        "itc": part * itc,
        "itm": part * itm,
        "itg": shard.weight / tokens * _itg_loss(model, heads, query_kv, own),
    }


def _mask(text: Tensor) -> Tensor:
    return (text != 0).astype("int64")


def _counted_once(x: Tensor, processes: int) -> Tensor:
    """`x` with its gradient divided by the number of processes, which all compute the same from it."""
    return x if processes == 1 else x / processes + x.detach() * (1 - 1 / processes)


def itc_loss(similarity: Tensor, positive: Tensor) -> Tensor:
    """Cross-entropy over rows and over columns of `similarity` [i, i]; each target is uniform over the positives."""

    def one_way(scores: Tensor, target: Tensor) -> Tensor:
        target = target / target.sum(axis=1, keepdim=True)
        return -(target * nn.functional.log_softmax(scores, axis=1)).sum(axis=1).mean()

    return (one_way(similarity, positive) + one_way(similarity.T, positive.T)) / 2


def hard_negatives(similarity: np.ndarray, positive: np.ndarray, rng: np.random.Generator) -> list[tuple[int, int]]:
    """(row, column) of one negative per row that has any, drawn with probability proportional to exp(similarity)."""
    drawn = []
    for row, (scores, holds) in enumerate(zip(similarity, positive, strict=True)):
        if len(columns := np.flatnonzero(holds == 0)):
            odds = np.exp(scores[columns] - scores[columns].max()).astype("float64")
            drawn.append((row, int(rng.choice(columns, p=odds / odds.sum()))))
    return drawn


def _matches(
    similarity: np.ndarray, positive: np.ndarray, rng: np.random.Generator
) -> list[list[tuple[int, int, int, int]]]:
    """The three kinds of pairs to match, as lists of (row, image, statement, whether they match).

    Each image with its own statement, each image with a statement that does not hold for it, and each statement with an
    image for which it does not hold. `row` is the image or statement that the pair was made for.
    """
    wrong_text = [(row, row, column, 0) for row, column in hard_negatives(similarity, positive, rng)]
    wrong_image = [(row, column, row, 0) for row, column in hard_negatives(similarity.T, positive.T, rng)]
    right = [(row, row, row, 1) for row in range(len(positive))]
    return [right, wrong_text, wrong_image]


def _itm_loss(
    model: Blip2,
    heads: PretrainingHeads,
    image_kv: CrossKV,
    features: Tensor,
    text: Tensor,
    drawn: list[list[tuple[int, int, int, int]]],
    shard: Shard,
) -> Tensor:
    """Cross-entropy of the pairs `drawn` for this process's rows, divided by the number of all pairs of the group.

    `features` [o, p, d] and the keys and values `image_kv` belong to own images, `text` [g, t] to the group.
    """
    own = shard.own_indices.tolist()
    mine = [
        (kind * len(shard.whole.images) + shard.group_indices[row], image, statement, matches)
        for kind, pairs in enumerate(drawn)
        for row, image, statement, matches in pairs
        if row in set(own)
    ]
    rows, images, statement_rows, target = np.array(mine).T
    features = shard.all_gather(features)
    if others := sorted(set(images.tolist()) - set(own)):
        image_kv = _joined(
            image_kv, model.qformer.encode_image(model.vision.norm(features.index_select(paddle.to_tensor(others))))
        )
    index = paddle.to_tensor([[*own, *others].index(image) for image in images])
    image_kv = [pair and (pair[0].index_select(index), pair[1].index_select(index)) for pair in image_kv]
    chosen = text.index_select(paddle.to_tensor(statement_rows))
    with batch_rows(rows, 3 * len(shard.whole.images)):
        queries, _ = model.qformer.read_both(image_kv, *heads.begin_reading(chosen, _mask(chosen)))
    count = sum(map(len, drawn))
    return nn.functional.cross_entropy(heads.match(queries), paddle.to_tensor(target), reduction="sum") / count


def _joined(one: CrossKV, other: CrossKV) -> CrossKV:
    """The rows of both, layer by layer."""
    return [
        mine and theirs and (paddle.concat([mine[0], theirs[0]]), paddle.concat([mine[1], theirs[1]]))
        for mine, theirs in zip(one, other, strict=True)
    ]


def _itg_loss(model: Blip2, heads: PretrainingHeads, query_kv: Sequence[KeysAndValues], text: Tensor) -> Tensor:
    """Negative log-probability of the statements' tokens `text` [o, t], summed."""
    written, written_mask = heads.begin_writing(text, _mask(text))
    states = model.qformer.write(query_kv, written[:, :-1], written_mask[:, :-1])
    logits = heads.next_word(states, model.qformer.words.weight).astype("float32").flatten(0, 1)
    # Not by `log_softmax`, which takes 200 times as long on the CPU.
    losses = nn.functional.cross_entropy(logits, text.flatten(), reduction="none").squeeze(-1)
    return (losses * _mask(text).flatten().astype(losses.dtype)).sum()
