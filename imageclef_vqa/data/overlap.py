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
    own, other = (index_images(paths, cache)[0] for paths in (ours, theirs))
    first = {digest: at for at, digest in reversed([*enumerate(other["sha256"])]) if other["width"][at] > 0}
    found = {at: (first[digest], 1.0) for at, digest in enumerate(own["sha256"]) if digest in first}
    rows = np.concatenate([own, other])
    pairs = hash_candidates(rows, len(own))
    # Editions share most of their files as they are: only the others are compared, which takes longest.
    pairs = pairs[(pairs[:, 1] >= len(own)) & ~np.isin(pairs[:, 0], list(found))]
    pairs = pairs[(rows["width"][pairs] > 0).all(1)]
    for (one, another), similarity in zip(pairs.tolist(), picture_similarity(rows, pairs).tolist(), strict=True):
        if similarity >= SAME_PICTURE and similarity > found.get(one, (0, 0.0))[1]:
            found[one] = (another - len(own), similarity)
    return dict(sorted(found.items()))
