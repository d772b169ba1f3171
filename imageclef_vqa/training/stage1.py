"""Stage 1, representation learning: the Q-Former learns to read the image (BLIP-2, section 3.2; paper, section 2.3).

Vision and language model are frozen. From statements such as "What color is the abnormality? Pink; Red" three losses
are summed:

    contrastive  an image's queries come close to its statements and stay away from those of other images
    matching     does this statement hold for this image? Against the hardest statements that do not
    generation   write the statement, seeing image and what is written so far

Answers repeat across images: whatever statement an image's own labels make true is a positive for it, not a negative.

i images and their i statements, q queries, t tokens, d width, s shared width.
"""

from __future__ import annotations

import numpy as np
import paddle
from paddle import Tensor, nn

from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.representation import RepresentationHeads
from imageclef_vqa.training.images import Patches
from imageclef_vqa.training.loop import train
from imageclef_vqa.training.pairs import Batch, Pair, PairTable, pad
from imageclef_vqa.training.run import Fold, Run

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

    def __init__(self, blip2: Blip2, heads: RepresentationHeads) -> None:
        super().__init__()
        self.blip2, self.heads = blip2, heads


def learn_representation(run: Run, heads: RepresentationHeads) -> dict[str, Tensor]:
    """Train Q-Former and heads on one statement per image and step; returns the trained tensors by name."""
    model = Stage1(run.model, heads)
    train_patches, val_patches = Patches(run, run.train), Patches(run, run.val)

    def losses_of(batch: Batch, fold: Fold, patches: Patches, rng: np.random.Generator) -> dict[str, Tensor]:
        text = paddle.to_tensor(statements(batch, fold.pairs))
        positive = paddle.to_tensor(holds(batch, fold.pairs))
        return representation_losses(run.model, heads, patches(batch), text, positive, rng)

    def losses(batch: Batch, rng: np.random.Generator) -> dict[str, Tensor]:
        model.train()
        return losses_of(batch, run.train, train_patches, rng)

    def validate() -> dict[str, float]:
        model.eval()
        rng = np.random.default_rng(run.seed)
        with paddle.no_grad():
            seen = [
                losses_of(batch, run.val, val_patches, rng) for batch in run.val.pairs.epoch(run.recipe.batch, 1, rng)
            ]
        return (
            {f"val_{name}": sum(float(parts[name]) for parts in seen) / len(seen) for name in seen[0]} if seen else {}
        )

    train(run, model, LEARNS, losses, questions=1, validate=validate)
    return {f"qformer.{name}": tensor for name, tensor in run.model.qformer.state_dict().items()}


def statements(batch: Batch, table: PairTable) -> np.ndarray:
    """Token ids [i, t] of each pair's question and answer."""
    return pad([table.questions[pair.question_id] + pair.tokens for pair in batch.pairs])


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
    model: Blip2, heads: RepresentationHeads, patches: Tensor, text: Tensor, positive: Tensor, rng: np.random.Generator
) -> dict[str, Tensor]:
    """The three losses of one batch, by name: patches [i, p, d], statements [i, t], `positive` [i, i] from `holds`."""
    mask = (text != 0).astype("int64")
    similarity = heads.similarity(model.qformer(patches), model.qformer.read_text(*heads.begin_reading(text, mask)))
    return {
        "contrastive": contrastive_loss(similarity, positive),
        "matching": _matching_loss(model, heads, patches, text, mask, similarity, positive, rng),
        "generation": _generation_loss(model, heads, patches, text, mask),
    }


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
    heads: RepresentationHeads,
    patches: Tensor,
    text: Tensor,
    mask: Tensor,
    similarity: Tensor,
    positive: Tensor,
    rng: np.random.Generator,
) -> Tensor:
    scores, truth = similarity.detach().numpy(), positive.numpy()
    wrong_text = hard_negatives(scores, truth, rng)
    wrong_image = [(image, statement) for statement, image in hard_negatives(scores.T, truth.T, rng)]
    own = [(place, place) for place in range(text.shape[0])]
    images, texts = (paddle.to_tensor(side) for side in zip(*own, *wrong_text, *wrong_image, strict=True))
    target = paddle.to_tensor([1] * len(own) + [0] * (len(wrong_text) + len(wrong_image)))
    queries, _ = model.qformer.read_both(
        patches.index_select(images),
        *heads.begin_reading(text.index_select(texts), mask.index_select(texts)),
        causal=False,
    )
    return nn.functional.cross_entropy(heads.match(queries), target)


def _generation_loss(model: Blip2, heads: RepresentationHeads, patches: Tensor, text: Tensor, mask: Tensor) -> Tensor:
    written, written_mask = heads.begin_writing(text, mask)
    _, states = model.qformer.read_both(patches, written[:, :-1], written_mask[:, :-1], causal=True)
    log_probs = nn.functional.log_softmax(heads.next_word(states, model.qformer.words.weight), axis=-1)
    chosen = paddle.take_along_axis(log_probs, text.unsqueeze(-1), axis=-1).squeeze(-1)
    weight = mask.astype(chosen.dtype)
    return -(chosen * weight).sum() / weight.sum()
