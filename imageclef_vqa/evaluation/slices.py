"""Where a model is weak: its accuracy on parts of the images, beside the same questions on all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from imageclef_vqa.evaluation.estimates import interval_of, rounded
from imageclef_vqa.evaluation.metrics import Numbers, PairAnswers, mean_per_question, members
from imageclef_vqa.evaluation.uncertainty import Draws, mean_of_known
from imageclef_vqa.task import QUESTIONS

_PROCEDURE, _POLYPS, _ABNORMALITIES = 0, 8, 12
_LONGEST = 4
_RESAMPLES = 2000  # of the draws: there are some twenty slices, of 18 questions each
_OFFICIAL_ID = re.compile(r"c[a-z0-9]{24}")
_PREFIX = 5

Mask = NDArray[np.bool_]


class Slice(BaseModel):
    """Mean of questions over one part of the pairs; `gap` is to the same questions over all, intervals are 95%."""

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
    image_ids: Sequence[str],
    gold: PairAnswers,
    heights: Mapping[str, int] | None,
    draws: Draws | None,
) -> tuple[Slice, ...]:
    """Every slice with a gold answer, by trait; `right` is `[image, question]`, NaN without a gold answer.

    `heights` in pixels are those of the paper's Table 1.
    """
    masks = {
        key: mask & ~np.isnan(right)
        for key, mask in _masks(image_ids, gold, heights or {}).items()
        if (mask & ~np.isnan(right)).any() and not (mask | np.isnan(right)).all()
    }
    if not masks:
        return ()
    tables = [np.where(mask, right, np.nan) for mask in masks.values()]
    samples = None
    if draws is not None:
        drawn = draws.means(np.concatenate([right, *tables], axis=1), _RESAMPLES)
        samples = drawn.reshape(len(drawn), len(tables) + 1, len(QUESTIONS))
    everywhere = mean_per_question(right)
    slices = []
    for place, ((by, name), mask) in enumerate(masks.items(), start=1):
        own = mean_per_question(tables[place - 1])
        here = ~np.isnan(own)
        interval = gap_interval = None
        if samples is not None and draws is not None and len(np.unique(draws.clusters[mask.any(axis=1)])) > 1:
            mine, all_of_them = samples[:, place, here], samples[:, 0, here]
            interval = interval_of(mean_of_known(mine))
            gap_interval = interval_of(mean_of_known(mine - all_of_them))
        slices.append(
            Slice(
                by=by,
                name=name,
                images=int(mask.any(axis=1).sum()),
                exact_set=rounded(own[here].mean()),
                interval=interval,
                gap=rounded((own - everywhere)[here].mean()),
                gap_interval=gap_interval,
            )
        )
    return tuple(slices)


def worst_slices(slices: Sequence[Slice], most: int = 3) -> list[Slice]:
    """Those that are surely worse than the rest of their questions, the worst first."""
    return sorted((each for each in slices if each.surely_worse), key=lambda each: each.gap)[:most]


def _masks(image_ids: Sequence[str], gold: PairAnswers, heights: Mapping[str, int]) -> dict[tuple[str, str], Mask]:
    """(trait, value) → mask `[image, question]`."""
    traits: dict[tuple[str, str], list[int]] = {}
    for row, image_id in enumerate(image_ids):
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
            traits.setdefault(("polyps", "with polyps" if polyps else "without polyps"), []).append(row)
    shape = (len(image_ids), len(QUESTIONS))
    masks: dict[tuple[str, str], Mask] = {}
    for key in sorted(traits):
        masks[key] = np.zeros(shape, dtype=bool)
        masks[key][traits[key]] = True
    lengths = np.zeros(shape, dtype=int)
    row_of = {image_id: row for row, image_id in enumerate(image_ids)}
    for (image_id, question_id), answers in gold.items():
        lengths[row_of[image_id], question_id] = min(len(members(answers)), _LONGEST)
    for length in range(1, _LONGEST + 1):
        name = f"{length} or more answers" if length == _LONGEST else f"{length} answer{'s' * (length > 1)}"
        masks["gold answer", name] = lengths == length
    return masks


def _has_polyps(image_id: str, gold: PairAnswers) -> bool | None:
    if abnormalities := gold.get((image_id, _ABNORMALITIES)):
        return "Polyp" in members(abnormalities)
    if number := gold.get((image_id, _POLYPS)):
        return members(number) != {"0"}
    return None
