"""Where a model is weak: its accuracy on parts of the images, beside the same questions on all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from imageclef_vqa.editions import question_that
from imageclef_vqa.evaluation.estimates import intervals_of, rounded, share_interval
from imageclef_vqa.evaluation.metrics import Numbers, PairAnswers, PairTable, mean_per_question, members
from imageclef_vqa.evaluation.uncertainty import Draws, distinct_columns

_PROCEDURE = question_that("kind", "procedure").id
_POLYPS = question_that("count", "polyp").id
_ABNORMALITIES = question_that("presence", "abnormality").id
_LONGEST = 4
_RESAMPLES = 1000  # of the draws: there are some twenty slices, each of all questions
_OFFICIAL_ID = re.compile(r"c[a-z0-9]{24}")
_PREFIX = 5

Mask = NDArray[np.bool_]


class Slice(BaseModel):
    """Exact-set accuracy of one part of the pairs, and its `gap` to what these questions reach over all images.

    Both intervals are 95%; None where all images are one cluster.
    """

    model_config = ConfigDict(frozen=True)

    by: str
    name: str
    images: int
    exact_set: float
    interval: tuple[float, float] | None
    gap: float
    gap_interval: tuple[float, float] | None

    @property
    def surely_worse(self) -> bool:
        return self.gap_interval is not None and self.gap_interval[1] < 0


def batch_of(image_id: str) -> str | None:
    """The batch that an id of the organisers' starts with; None for any other id, which may hold a person's name."""
    return image_id[:_PREFIX] if _OFFICIAL_ID.fullmatch(image_id) else None


def score_slices(
    right: Numbers,
    table: PairTable,
    gold: PairAnswers,
    heights: Mapping[str, int] | None,
    draws: Draws | None,
) -> tuple[Slice, ...]:
    """Every slice with a gold answer, by trait; `right` is `[image, question]` of `table`, NaN without a gold answer.

    `heights` in pixels are those of the paper's Table 1.
    """
    masks = {
        key: mask & ~np.isnan(right)
        for key, mask in _masks(table, gold, heights or {}).items()
        if (mask & ~np.isnan(right)).any() and not (mask | np.isnan(right)).all()
    }
    if not masks:
        return ()
    everywhere = mean_per_question(right)
    intervals = None
    if draws is not None:
        own, gaps = _sample(list(masks.values()), right, draws)
        intervals = list(zip(intervals_of(own), intervals_of(gaps), strict=True))
    slices = []
    for index, ((by, name), mask) in enumerate(masks.items()):
        accuracy, expected = right[mask].mean(), (mask.sum(axis=0) * np.nan_to_num(everywhere)).sum() / mask.sum()
        images = mask.any(axis=1)
        clusters = 0 if draws is None else len(np.unique(draws.clusters[images]))
        interval, gap_interval = intervals[index] if intervals and clusters > 1 else (None, None)
        slices.append(
            Slice(
                by=by,
                name=name,
                images=int(images.sum()),
                exact_set=rounded(accuracy),
                interval=share_interval(interval, clusters) if interval else None,
                gap=rounded(accuracy - expected),
                gap_interval=gap_interval,
            )
        )
    return tuple(slices)


def _sample(masks: Sequence[Mask], right: Numbers, draws: Draws) -> tuple[Numbers, Numbers]:
    """Accuracy of each slice and its gap, `[resample, slice]`; NaN where none of it was drawn."""
    questions = right.shape[1]
    known, hit = ~np.isnan(right), np.nan_to_num(right)
    hits = draws.sums(np.stack([np.where(mask, hit, 0.0).sum(axis=1) for mask in masks], axis=1), _RESAMPLES)
    asked = np.concatenate([*masks, known], axis=1)
    first, place = distinct_columns(asked)  # a mask of whole images is one column, where all questions have answers
    sizes, rights = np.split(draws.sums(np.concatenate([asked[:, first], hit], axis=1), _RESAMPLES), [len(first)], 1)
    asked, totals = np.split(sizes[:, place], [questions * len(masks)], axis=1)
    accuracy = np.divide(rights, totals, out=np.zeros(totals.shape), where=totals > 0)
    asked = asked.reshape(-1, len(masks), questions)
    expected, sizes = (asked * accuracy[:, None]).sum(axis=2), asked.sum(axis=2)
    there = sizes > 0
    own = np.divide(hits, sizes, out=np.full(sizes.shape, np.nan), where=there)
    return own, own - np.divide(expected, sizes, out=np.zeros(sizes.shape), where=there)


def worst_slices(slices: Sequence[Slice], most: int = 3) -> list[Slice]:
    """Those that are surely worse than the rest of their questions, the worst first."""
    return sorted((each for each in slices if each.surely_worse), key=lambda each: each.gap)[:most]


def _masks(table: PairTable, gold: PairAnswers, heights: Mapping[str, int]) -> dict[tuple[str, str], Mask]:
    """(trait, value) → mask `[image, question]`."""
    traits: dict[tuple[str, str], list[int]] = {}
    for row, image_id in enumerate(table.image_ids):
        batch, height = batch_of(image_id), heights.get(image_id)
        procedure = gold.get((image_id, _PROCEDURE), ())
        if batch is not None:
            traits.setdefault(("batch", batch), []).append(row)
        if height is not None:
            size = "under 500 px" if height < 500 else "500 to 1,000 px" if height <= 1000 else "over 1,000 px"
            traits.setdefault(("image height", size), []).append(row)
        if len(procedure) == 1:
            traits.setdefault(("procedure", procedure[0]), []).append(row)
        if (polyps := _has_polyps(image_id, gold)) is not None:
            traits.setdefault(("polyps", "present" if polyps else "absent"), []).append(row)
    lengths = table.spread([min(len(members(answers)), _LONGEST) for _, _, answers in table.couples])
    masks: dict[tuple[str, str], Mask] = {}
    for key in sorted(traits):
        masks[key] = np.zeros(lengths.shape, dtype=bool)
        masks[key][traits[key]] = True
    for length in range(1, _LONGEST + 1):
        name = f"{length} or more" if length == _LONGEST else str(length)
        masks["answer length", name] = lengths == length
    return masks


def _has_polyps(image_id: str, gold: PairAnswers) -> bool | None:
    if abnormalities := gold.get((image_id, _ABNORMALITIES)):
        return "Polyp" in members(abnormalities)
    if number := gold.get((image_id, _POLYPS)):
        return members(number) != {"0"}
    return None
