"""Stage 1, representation learning: the Q-Former learns to read the image (BLIP-2, section 3.2; paper, section 2.3).

Vision and language model are frozen. From statements such as "What color is the abnormality? Pink; Red" three losses
are summed:

    contrastive  an image's queries come close to its statements and stay away from those of other images
    matching     does this statement hold for this image? Against the hardest statements that do not
    generation   write the statement, seeing image and what is written so far

Answers repeat across images: whatever statement an image's own labels make true is a positive for it, not a negative.

i images and their i statements, g of a group, o of a process, q queries, t tokens, d width, s shared width.
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
from imageclef_vqa.training.images import Patches
from imageclef_vqa.training.loop import train
from imageclef_vqa.training.pairs import Batch, Pair, PairTable, pad
from imageclef_vqa.training.parallel import Shard
from imageclef_vqa.training.run import Fold, Run

LOSSES = ("contrastive", "matching", "generation")
# What learns (paper, section 2.3); every parameter is covered by exactly one line.
LEARNS = {
    r"blip2\.vision\..*": False,
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


def learn_representation(run: Run, heads: PretrainingHeads) -> dict[str, Tensor]:
    """Train Q-Former and heads on one statement per image and step; returns the trained tensors by name."""
    model = Stage1(run.model, heads)
    train_patches, val_patches = Patches(run, run.train), Patches(run, run.val)

    def losses_of(share: Shard, fold: Fold, patches: Patches, rng: np.random.Generator) -> dict[str, Tensor]:
        return representation_losses(run.model, heads, patches(share.own), fold.pairs, share, rng)

    def losses(share: Shard, rng: np.random.Generator) -> dict[str, Tensor]:
        model.train()
        return losses_of(share, run.train, train_patches, rng)

    def validate() -> dict[str, float]:
        model.eval()
        rng = np.random.default_rng(run.seed)
        sums, own_batches = dict.fromkeys(LOSSES, 0.0), 0
        with paddle.no_grad():
            for number, batch in run.processes.own(enumerate(run.val.pairs.epoch(run.recipe.batch, 1, rng))):
                negatives = np.random.default_rng([run.seed, number])
                parts = losses_of(Shard.alone(batch), run.val, val_patches, negatives)
                sums = {name: total + float(parts[name]) for name, total in sums.items()}
                own_batches += 1
        *totals, count = run.processes.sum([*sums.values(), own_batches])
        return {f"val_{name}": total / count for name, total in zip(LOSSES, totals, strict=True)} if count else {}

    train(
        run,
        model,
        LEARNS,
        losses,
        questions=1,
        validate=validate,
        score=lambda found: -sum(found.values()),
    )
    return {f"qformer.{name}": tensor for name, tensor in run.model.qformer.state_dict().items()}


def statements(batch: Batch, table: PairTable, longest: int) -> np.ndarray:
    """Token ids [i, t] of each pair's question and answer, their last `longest` where there are more."""
    said = [(table.questions[pair.question_id] + pair.tokens)[-longest:] for pair in batch.pairs]
    # In few lengths, for the sake of an NPU; and alike on all devices, since dropout depends on them.
    return pad(said, lambda length: min(longest, -(-length // 8) * 8))


def holds(batch: Batch, table: PairTable) -> np.ndarray:
    """Whether image r's labels make statement c true: 1, or 0 if they contradict it or do not say, [i, i]."""
    own = [
        {pair.question_id: pair.answer for pair in table.seen(image, view)}
        for image, view in zip(batch.images, batch.views, strict=True)
    ]

    def true_of(answers: dict[int, tuple[str, ...]], pair: Pair) -> bool:
        return answers.get(pair.question_id) == pair.answer

    return np.array([[true_of(answers, pair) for pair in batch.pairs] for answers in own], dtype="float32")


def representation_losses(
    model: Blip2, heads: PretrainingHeads, patches: Tensor, table: PairTable, share: Shard, rng: np.random.Generator
) -> dict[str, Tensor]:
    """What `share` adds to the three losses of its batch, by name; `patches` [o, p, d] of its own images.

    Images and statements are compared within a group, whichever process has them.
    """
    whole = statements(share.whole, table, longest=len(model.qformer.positions.weight) - 1)  # one token goes in front
    text = paddle.to_tensor(whole).index_select(paddle.to_tensor(share.group_places))  # [g, t]
    own = text.index_select(paddle.to_tensor(share.own_places))  # [o, t]
    own_words = model.qformer.read_text(*heads.begin_reading(own, _mask(own)))
    looked = model.qformer.encode_image(patches)
    queries, asked = model.qformer.read_image(looked)
    image = share.of_group(heads.shared_image(queries))  # [g, q, s]
    words = share.of_group(heads.shared_text(own_words))  # [g, s]
    near = (cosine(image, words) * _counted_once(heads.scale, share.processes)).astype("float32")
    positive = holds(share.group, table)
    contrastive = contrastive_loss(near, paddle.to_tensor(positive))
    # All processes of the group have this same value, each with the gradient of its own rows.
    contrastive = contrastive - contrastive.detach() * (1 - 1 / share.processes)
    matching = _matching_loss(model, heads, looked, patches, text, near.detach().numpy(), positive, share, rng)
    tokens = int((whole != 0).sum())
    part = share.weight * len(share.group.images) / len(share.whole.images)
    return {
        "contrastive": part * contrastive,
        "matching": part * matching,
        "generation": share.weight / tokens * _generation_loss(model, heads, asked, own),
    }


def _mask(text: Tensor) -> Tensor:
    return (text != 0).astype("int64")


def _counted_once(x: Tensor, processes: int) -> Tensor:
    """`x`, its gradient shared out among processes that all compute the same from it."""
    return x if processes == 1 else x / processes + x.detach() * (1 - 1 / processes)


def contrastive_loss(similarity: Tensor, positive: Tensor) -> Tensor:
    """Cross-entropy both ways over similarities [i, i], the target spread evenly over all positives."""

    def one_way(scores: Tensor, target: Tensor) -> Tensor:
        target = target / target.sum(axis=1, keepdim=True)
        return -(target * nn.functional.log_softmax(scores, axis=1)).sum(axis=1).mean()

    return (one_way(similarity, positive) + one_way(similarity.T, positive.T)) / 2


def hard_negatives(similarity: np.ndarray, positive: np.ndarray, rng: np.random.Generator) -> list[tuple[int, int]]:
    """(row, column) of one negative for each row that has any, drawn in proportion to exp(similarity)."""
    drawn = []
    for row, (scores, positives) in enumerate(zip(similarity, positive, strict=True)):
        if len(columns := np.flatnonzero(positives == 0)):
            odds = np.exp(scores[columns] - scores[columns].max()).astype("float64")
            drawn.append((row, int(rng.choice(columns, p=odds / odds.sum()))))
    return drawn


def _matching_loss(
    model: Blip2,
    heads: PretrainingHeads,
    looked: CrossKV,
    patches: Tensor,
    text: Tensor,
    scores: np.ndarray,
    positive: np.ndarray,
    share: Shard,
    rng: np.random.Generator,
) -> Tensor:
    """Each image of a group with its own statement and with one that does not hold, each statement with an image for
    which it does not; a process has those that its own rows begin.

    `patches` [o, p, d] and what was `looked` at in them are those of own images, `text` [g, t] is the group's.
    """
    wrong_text = [(row, row, column, 0) for row, column in hard_negatives(scores, positive, rng)]
    wrong_image = [(row, column, row, 0) for row, column in hard_negatives(scores.T, positive.T, rng)]
    right = [(row, row, row, 1) for row in range(len(positive))]
    mine = [
        (number * len(share.whole.images) + share.group_places[row], image, statement, belongs)
        for number, kind in enumerate((right, wrong_text, wrong_image))
        for row, image, statement, belongs in kind
        if row in set(share.own_places.tolist())
    ]
    rows, images, statements, target = np.array(mine).T
    patches, own = share.of_group(patches), share.own_places.tolist()
    if others := sorted(set(images.tolist()) - set(own)):
        looked = _joined(looked, model.qformer.encode_image(patches.index_select(paddle.to_tensor(others))))
    at = paddle.to_tensor([[*own, *others].index(image) for image in images])
    looked = [pair and (pair[0].index_select(at), pair[1].index_select(at)) for pair in looked]
    chosen = text.index_select(paddle.to_tensor(statements))
    with batch_rows(rows, 3 * len(share.whole.images)):
        queries, _ = model.qformer.read_both(looked, *heads.begin_reading(chosen, _mask(chosen)))
    count = len(right) + len(wrong_text) + len(wrong_image)
    return nn.functional.cross_entropy(heads.match(queries), paddle.to_tensor(target), reduction="sum") / count


def _joined(one: CrossKV, other: CrossKV) -> CrossKV:
    """What was looked at in images, and in others, as rows of one."""
    return [
        mine and theirs and (paddle.concat([mine[0], theirs[0]]), paddle.concat([mine[1], theirs[1]]))
        for mine, theirs in zip(one, other, strict=True)
    ]


def _generation_loss(model: Blip2, heads: PretrainingHeads, asked: Sequence[KeysAndValues], text: Tensor) -> Tensor:
    """Negative log-probability of the statements' tokens, summed."""
    written, written_mask = heads.begin_writing(text, _mask(text))
    states = model.qformer.write(asked, written[:, :-1], written_mask[:, :-1])
    logits = heads.next_word(states, model.qformer.words.weight).astype("float32").flatten(0, 1)
    # Not by `log_softmax`, which takes 200 times as long on the CPU.
    losses = nn.functional.cross_entropy(logits, text.flatten(), reduction="none").squeeze(-1)
    return (losses * _mask(text).flatten().astype(losses.dtype)).sum()
