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

from collections import Counter
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
from imageclef_vqa.training.pairs import PairTable
from imageclef_vqa.training.parallel import Shard
from imageclef_vqa.training.statements import matches, positives, reference_losses, statements

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
        features, smoothing = train_features(shard.own), context.recipe.label_smoothing
        return representation_losses(context.model, heads, features, context.train.pairs, shard, rng, smoothing)

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
        score=lambda found: -sum(found[f"val_{name}"] for name in LOSSES),
        references=lambda batch: reference_losses(positives(batch, context.train.pairs), len(heads.word_bias)),
    )
    tensors = context.model.state_dict()
    return {name: tensor for name, tensor in tensors.items() if name.startswith(("qformer.", "vision.norm."))}


def _validate(context: StageContext, heads: PretrainingHeads, features: VisionFeatures) -> dict[str, float]:
    """Mean losses over batches, with the same statements and negatives every time; empty without validation images.

    Targets are not smoothed. Beside each loss, `chance_` has that of a model that knows nothing, and `bound_itc` the
    least that is possible where several statements hold for an image.
    """
    recipe, pairs, rng = context.recipe, context.val.pairs, np.random.default_rng(context.seed)
    batches = pairs.epoch(recipe.batch, 1, rng, recipe.batch_unit)
    sums, own_batches = Counter[str](), 0
    with paddle.no_grad():
        for number, batch in context.processes.own(enumerate(batches)):
            shard, negatives = Shard.single(batch), np.random.default_rng([context.seed, number])
            parts = representation_losses(context.model, heads, features(batch), pairs, shard, negatives)
            sums.update({f"val_{name}": float(parts[name]) for name in LOSSES})
            sums.update(reference_losses(positives(batch, pairs), len(heads.word_bias)))
            own_batches += 1
    names = [f"val_{name}" for name in LOSSES] + [f"chance_{name}" for name in LOSSES] + ["bound_itc"]
    *totals, count = context.processes.sum([*(sums[name] for name in names), own_batches])
    return {name: total / count for name, total in zip(names, totals, strict=True)} if count else {}


def representation_losses(
    model: Blip2,
    heads: PretrainingHeads,
    features: Tensor,
    table: PairTable,
    shard: Shard,
    rng: np.random.Generator,
    smoothing: float = 0.0,
) -> dict[str, Tensor]:
    """What `shard` contributes to the losses of its batch, by name; `features` [o, p, d] of its own images.

    Images and statements are compared with those of the whole group, across processes. `smoothing` is the share of the
    targets of itc and itg that is spread evenly over all classes.
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
    itc = itc_loss(similarity, paddle.to_tensor(positive), smoothing)
    # Every process of the group has the same value, each with the gradient of its own rows.
    itc = itc - itc.detach() * (1 - 1 / shard.processes)
    drawn = matches(similarity.detach().numpy(), positive, rng)
    itm = _itm_loss(model, heads, image_kv, features, text, drawn, shard)
    tokens = int((whole != 0).sum())
    part = shard.weight * len(shard.group.images) / len(shard.whole.images)
    return {
        "itc": part * itc,
        "itm": part * itm,
        "itg": shard.weight / tokens * _itg_loss(model, heads, query_kv, own, smoothing),
    }


def _mask(text: Tensor) -> Tensor:
    return (text != 0).astype("int64")


def _counted_once(x: Tensor, processes: int) -> Tensor:
    """`x` with its gradient divided by the number of processes, which all compute the same from it."""
    return x if processes == 1 else x / processes + x.detach() * (1 - 1 / processes)


def itc_loss(similarity: Tensor, positive: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy over rows and over columns of `similarity` [i, i]; each target is uniform over the positives.

    The share `smoothing` of a target is spread over all columns (LAVIS, `Blip2Qformer.forward`: 0.1).
    """

    def one_way(scores: Tensor, target: Tensor) -> Tensor:
        target = (1 - smoothing) * target / target.sum(axis=1, keepdim=True) + smoothing / target.shape[1]
        return -(target * nn.functional.log_softmax(scores, axis=1)).sum(axis=1).mean()

    return (one_way(similarity, positive) + one_way(similarity.T, positive.T)) / 2


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


def _itg_loss(
    model: Blip2, heads: PretrainingHeads, query_kv: Sequence[KeysAndValues], text: Tensor, smoothing: float
) -> Tensor:
    """Cross-entropy of the statements' tokens `text` [o, t], summed.

    The share `smoothing` of each target is spread over the vocabulary (LAVIS, `BertLMHeadModel.forward`: 0.1).
    """
    written, written_mask = heads.begin_writing(text, _mask(text))
    states = model.qformer.write(query_kv, written[:, :-1], written_mask[:, :-1])
    logits = heads.next_word(states, model.qformer.words.weight).astype("float32").flatten(0, 1)
    # Not by `log_softmax`, which takes 200 times as long on the CPU.
    target = text.flatten()
    losses = nn.functional.cross_entropy(logits, target, reduction="none").squeeze(-1)
    if smoothing:  # not by `label_smoothing`, which makes a target for every token of the vocabulary
        of_target = paddle.gather_nd(logits, paddle.stack([paddle.arange(len(target)), target], axis=1))
        losses = losses + smoothing * (of_target - logits.mean(axis=1))
    return (losses * _mask(text).flatten().astype(losses.dtype)).sum()
