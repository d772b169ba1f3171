"""Images that two data sets share, by what they show and not by what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from imageclef_vqa.data.duplicates import SAME_PICTURE, hash_candidates, picture_similarity
from imageclef_vqa.data.images import index_images


def shared_pictures(ours: Sequence[Path], theirs: Sequence[Path], cache: Path | None) -> dict[int, tuple[int, float]]:
    """For each of `ours` that shows the same picture as one of `theirs`: the place of the likest, and the similarity.

    Files that are no images are like none.
    """
    rows, others = index_images(ours, cache)[0], index_images(theirs, cache)[0]
    together = np.concatenate([rows, others])
    with threadpool_limits(1):
        pairs = hash_candidates(together)
        pairs = pairs[(pairs[:, 0] < len(ours)) & (pairs[:, 1] >= len(ours))]
        pairs = pairs[(together["width"][pairs] > 0).all(1)]
        similarity = picture_similarity(together, pairs)
    found: dict[int, tuple[int, float]] = {}
    for (one, other), value in zip(pairs.tolist(), similarity.tolist(), strict=True):
        if value >= SAME_PICTURE and value > found.get(one, (0, 0.0))[1]:
            found[one] = (other - len(ours), value)
    return found
