"""Images that two data sets share, found by their content and not by their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from imageclef_vqa.data.duplicates import SAME_PICTURE, hash_candidates, picture_similarity
from imageclef_vqa.data.images import index_images


def shared_pictures(ours: Sequence[Path], theirs: Sequence[Path], cache: Path | None) -> dict[int, tuple[int, float]]:
    """Index in `ours` → index in `theirs` of the most similar image, and the similarity (`SAME_PICTURE` to 1).

    Images without a match are left out, and so are files that are no images.
    """
    rows = np.concatenate([index_images(ours, cache)[0], index_images(theirs, cache)[0]])
    pairs = hash_candidates(rows)
    pairs = pairs[(pairs[:, 0] < len(ours)) & (pairs[:, 1] >= len(ours))]
    pairs = pairs[(rows["width"][pairs] > 0).all(1)]
    found: dict[int, tuple[int, float]] = {}
    for (one, other), similarity in zip(pairs.tolist(), picture_similarity(rows, pairs).tolist(), strict=True):
        if similarity >= SAME_PICTURE and similarity > found.get(one, (0, 0.0))[1]:
            found[one] = (other - len(ours), similarity)
    return found
