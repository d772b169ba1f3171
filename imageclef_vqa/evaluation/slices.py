"""Accuracy on slices of the images, compared with the same questions over all images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.special import stdtr

from imageclef_vqa.editions import question_that
from imageclef_vqa.evaluation.estimates import Interval, interval_of, rounded, share_interval
from imageclef_vqa.evaluation.metrics import (
    Numbers,
    PairAnswers,
    PairTable,
    mean_per_question,
    members,
    ratio,
)
from imageclef_vqa.evaluation.uncertainty import Bootstrap
from imageclef_vqa.statistics import holm

_PROCEDURE = question_that("kind", "procedure").id
_POLYPS = question_that("count", "polyp").id
_ABNORMALITIES = question_that("presence", "abnormality").id
SIGNIFICANT = 0.05
_LONGEST = 4
_RESAMPLES = 1000
_OFFICIAL_ID = re.compile(r"c[a-z0-9]{24}")
_PREFIX = 5

Mask = NDArray[np.bool_]


class Slice(BaseModel):
    """Exact-set accuracy of one slice, and its `gap` to the accuracy of the same questions over all images.

    Both intervals are 95%. `p_holm` is the two-sided p-value of the gap (Student's t, with the bootstrap's standard
    error), corrected for all slices of the score (Holm 1979). All are None if the slice's images are one cluster.
    """

    model_config = ConfigDict(frozen=True)

    by: str
    name: str
    images: int
    exact_set: float
    interval: Interval | None = None
    gap: float
    gap_interval: Interval | None = None
    p_holm: float | None = None

    @property
    def significantly_worse(self) -> bool:
        return self.gap < 0 and self.p_holm is not None and self.p_holm < SIGNIFICANT


def batch_of(image_id: str) -> str | None:
    """The batch, which an official id starts with; None for any other id, which may contain a person's name."""
    return image_id[:_PREFIX] if _OFFICIAL_ID.fullmatch(image_id) else None


def score_slices(
    right: Numbers,
    table: PairTable,
    gold: PairAnswers,
    heights: Mapping[str, int] | None,
    bootstrap: Bootstrap | None,
) -> tuple[Slice, ...]:
    """Score every slice that has a gold answer and does not hold all of them.

    Args:
        right: exact-set accuracy, `[image, question]` of `table`, NaN without a gold answer.
        heights: image id → height in pixels, for the classes of the paper's Table 1.
    """
    known = ~np.isnan(right)
    masks = {trait: mask & known for trait, mask in _masks(table, gold, heights or {}).items()}
    masks = {trait: mask for trait, mask in masks.items() if mask.any() and (known & ~mask).any()}
    slices = [_score_slice(by, name, mask, right) for (by, name), mask in masks.items()]
    if bootstrap is not None:
        everywhere = np.nan_to_num(bootstrap.means(right, _RESAMPLES))
        found = [
            _uncertainty(each.gap, mask, right, everywhere, bootstrap)
            for each, mask in zip(slices, masks.values(), strict=True)
        ]
        p_holm = holm({index: p for index, (_, p) in enumerate(found) if p is not None})
        slices = [
            each.model_copy(update=intervals | {"p_holm": p_holm.get(index)})
            for index, (each, (intervals, _)) in enumerate(zip(slices, found, strict=True))
        ]
    return tuple(slices)


def _score_slice(by: str, name: str, mask: Mask, right: Numbers) -> Slice:
    expected = (mask.sum(axis=0) * np.nan_to_num(mean_per_question(right))).sum() / mask.sum()
    accuracy = right[mask].mean()
    images = int(mask.any(axis=1).sum())
    return Slice(by=by, name=name, images=images, exact_set=rounded(accuracy), gap=rounded(accuracy - expected))


def _uncertainty(
    gap: float, mask: Mask, right: Numbers, everywhere: Numbers, bootstrap: Bootstrap
) -> tuple[dict[str, Interval], float | None]:
    """The intervals of a slice, and the p-value of its gap; `everywhere` is the accuracy over all images,
    `[resample, question]`."""
    clusters = len(np.unique(bootstrap.clusters[mask.any(axis=1)]))
    if clusters == 1:
        return {}, None
    hits = bootstrap.sums(np.where(mask, right, 0.0).sum(axis=1, keepdims=True), _RESAMPLES)[:, 0]
    by_question = bootstrap.sums(mask, _RESAMPLES)
    sizes = by_question.sum(axis=1)
    accuracy, expected = ratio(hits, sizes), ratio((by_question * everywhere).sum(axis=1), sizes)
    gaps = accuracy - expected
    intervals = {"interval": share_interval(interval_of(accuracy), clusters), "gap_interval": interval_of(gaps)}
    error = float(np.nanstd(gaps))
    return intervals, float(2 * stdtr(clusters - 1, -abs(gap) / error)) if error else 1.0


def worst_slices(slices: Sequence[Slice], most: int = 3) -> list[Slice]:
    """The slices that are significantly worse than their questions over all images, the lowest first."""
    return sorted((each for each in slices if each.significantly_worse), key=lambda each: each.gap)[:most]


def _masks(table: PairTable, gold: PairAnswers, heights: Mapping[str, int]) -> dict[tuple[str, str], Mask]:
    """(trait, value) → mask `[image, question]`."""
    rows: dict[tuple[str, str], list[int]] = {}
    for row, image_id in enumerate(table.image_ids):
        for trait in _traits(image_id, gold, heights.get(image_id)):
            rows.setdefault(trait, []).append(row)
    lengths = table.as_table([min(len(members(answers)), _LONGEST) for _, _, answers in table.outcomes])
    masks: dict[tuple[str, str], Mask] = {}
    for trait in sorted(rows):
        masks[trait] = np.zeros(lengths.shape, dtype=bool)
        masks[trait][rows[trait]] = True
    for length in range(1, _LONGEST + 1):
        name = f"{length} or more" if length == _LONGEST else str(length)
        masks["answer length", name] = lengths == length
    return masks


def _traits(image_id: str, gold: PairAnswers, height: int | None) -> list[tuple[str, str]]:
    """The (trait, value) that an image has."""
    traits = []
    if (batch := batch_of(image_id)) is not None:
        traits.append(("batch", batch))
    if height is not None:
        size = "under 500 px" if height < 500 else "500 to 1,000 px" if height <= 1000 else "over 1,000 px"
        traits.append(("image height", size))
    if len(procedure := gold.get((image_id, _PROCEDURE), ())) == 1:
        traits.append(("procedure", procedure[0]))
    if (polyps := _has_polyps(image_id, gold)) is not None:
        traits.append(("polyps", "present" if polyps else "absent"))
    return traits


def _has_polyps(image_id: str, gold: PairAnswers) -> bool | None:
    if abnormalities := gold.get((image_id, _ABNORMALITIES)):
        return "Polyp" in members(abnormalities)
    if number := gold.get((image_id, _POLYPS)):
        return members(number) != {"0"}
    return None
