"""The statements of stage 1, such as "What color is the abnormality? Pink; Red": which hold for which images.

i images and their i statements, t tokens.
"""

from __future__ import annotations

import math

import numpy as np

from imageclef_vqa.training.pairs import Batch, PairTable, pad


def statements(batch: Batch, table: PairTable, longest: int) -> np.ndarray:
    """Token ids [i, t] of each pair's question and answer; the last `longest` tokens of those that are longer."""
    texts = [(table.questions[pair.question_id] + pair.tokens)[-longest:] for pair in batch.pairs]
    # Multiples of 8, so that an NPU compiles few shapes; the same on all devices, because dropout depends on the shape.
    return pad(texts, lambda length: min(longest, -(-length // 8) * 8))


def positives(batch: Batch, table: PairTable) -> np.ndarray:
    """[i, i]: 1 if the labels of image (row) make the statement (column) true; 0 if they contradict it or lack it."""
    own = [
        {table.claim(pair) for pair in table.pairs_in(view, image)}
        for image, view in zip(batch.images, batch.views, strict=True)
    ]
    claims = [table.claim(pair) for pair in batch.pairs]
    return np.array([[claim in of_image for claim in claims] for of_image in own], dtype="float32")


def hard_negatives(similarity: np.ndarray, positive: np.ndarray, rng: np.random.Generator) -> list[tuple[int, int]]:
    """(row, column) of one negative per row that has any, drawn with probability proportional to exp(similarity)."""
    drawn = []
    for row, (scores, holds) in enumerate(zip(similarity, positive, strict=True)):
        if len(columns := np.flatnonzero(holds == 0)):
            odds = np.exp(scores[columns] - scores[columns].max()).astype("float64")
            drawn.append((row, int(rng.choice(columns, p=odds / odds.sum()))))
    return drawn


def matches(
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


def reference_losses(positive: np.ndarray, vocabulary: int) -> dict[str, float]:
    """What the losses of a batch, whose statements hold as in `positive` [i, i], are compared with.

    Chance: for itc, the same similarity for all; for itm, the share of pairs that match, as the probability of each;
    for itg, the same probability for every token. The bound of itc is the entropy of its targets.
    """
    false = positive == 0
    share = len(positive) / (len(positive) + false.any(axis=1).sum() + false.any(axis=0).sum())
    return {
        "chance_itc": math.log(len(positive)),
        "chance_itm": -sum(p * math.log(p) for p in (share, 1 - share) if p),
        "chance_itg": math.log(vocabulary),
        "bound_itc": float(np.log(positive.sum(axis=1)).mean() + np.log(positive.sum(axis=0)).mean()) / 2,
    }
