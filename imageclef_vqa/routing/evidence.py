"""Who answers a question: what the validation images can tell, and no more.

The paired differences of accuracy between a rival and BLIP-2, one per question, are taken as draws around a common
mean (empirical Bayes; DerSimonian and Laird 1986 for the spread between questions). Each is shrunk towards that mean,
the more so the less its images say: few images then suffice where a rival is better everywhere, while a lone lucky
question convinces nobody. Variances come from a bootstrap that draws near-duplicates together. A rival takes over
where the 95% interval of its shrunken difference lies above zero, and never where it did worse on these very images.

With 48 images and 15 questions, in simulation: rivals equal to BLIP-2 take 2% of the questions (any at all in 4% of
the runs); those better by 8 points everywhere take over 90%; those better by 25 points on three questions alone take
these in over 80% of the runs, and the others in 5%.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imageclef_vqa.evaluation.uncertainty import interval95, resampled_means

Numbers = NDArray[np.float64]
BLIP2 = "blip2"
_RESAMPLES = 2000
_Z95 = 1.96
_PARTS = 10


@dataclass(frozen=True)
class Estimate:
    """A value and its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Decision:
    """Who answers a question and why; accuracies by model on the validation images, if any has a gold answer."""

    question_id: int
    model: str
    reason: str
    accuracies: Mapping[str, Estimate]


@dataclass(frozen=True)
class Comparison:
    """A rival against BLIP-2: shrunken differences of accuracy [q] with their standard errors, and the pooled one."""

    observed: Numbers
    shrunken: Numbers
    error: Numbers
    pooled: Estimate

    @property
    def takes(self) -> NDArray[np.bool_]:
        return (self.shrunken - _Z95 * self.error > 0) & (self.observed >= 0)


def compare(rival: Numbers, blip2: Numbers, clusters: NDArray[np.int64], seed: int) -> Comparison:
    """Compare two tables of right (1) and wrong (0) answers, [image, question], NaN where there is no gold answer.

    Every question has a gold answer on some image; `clusters` [image] numbers what is drawn together, from 0.
    """
    differences = rival - blip2
    draws = resampled_means(differences, clusters, seed=seed, resamples=_RESAMPLES)
    observed = np.nanmean(differences, axis=0)
    # One win and one loss more than were seen: no difference at all on a few images is no certainty.
    floor = 2 / len(np.unique(clusters)) ** 2
    variance = np.nanvar(draws, axis=0) + floor
    mean, mean_draws = observed.mean(), np.nanmean(draws, axis=1)
    mean_variance = mean_draws.var() + floor / len(observed)
    between = max(0.0, observed.var(ddof=1) - variance.mean()) if len(observed) > 1 else 0.0
    own = between / (between + variance)
    return Comparison(
        observed=observed,
        shrunken=mean + own * (observed - mean),
        error=np.sqrt(own * variance + (1 - own) ** 2 * mean_variance),
        pooled=Estimate(float(mean), *interval95(mean_draws)),
    )


def choose(right: Mapping[str, Numbers], clusters: NDArray[np.int64], seed: int) -> tuple[list[str], list[str]]:
    """For each question, the model that answers it and the reason; `right` as in `compare`, by model."""
    rivals = {name: compare(right[name], right[BLIP2], clusters, seed) for name in right if name != BLIP2}
    chosen, reasons = [], []
    for place in range(right[BLIP2].shape[1]):
        able = [name for name, comparison in rivals.items() if comparison.takes[place]]
        # Not by the shrunken differences: each rival is shrunk towards a mean of its own.
        name = max(able or rivals, key=lambda name: (rivals[name].observed[place], rivals[name].pooled.value))
        gain, error = rivals[name].shrunken[place], rivals[name].error[place]
        reason = f"{name} {_points(gain)} [{_points(gain - _Z95 * error)},{_points(gain + _Z95 * error)}]"
        if gain > _Z95 * error and not able:
            reason += ", worse here"
        chosen.append(name if able else BLIP2)
        reasons.append(reason)
    return chosen, reasons


def accuracies(right: Mapping[str, Numbers], clusters: NDArray[np.int64], seed: int) -> list[dict[str, Estimate]]:
    """For each question, each model's accuracy with its clustered 95% interval."""
    questions: list[dict[str, Estimate]] = [{} for _ in range(right[BLIP2].shape[1])]
    for name, table in right.items():
        draws = resampled_means(table, clusters, seed=seed, resamples=_RESAMPLES)
        for place, value in enumerate(np.nanmean(table, axis=0)):
            questions[place][name] = Estimate(float(value), *interval95(draws[:, place]))
    return questions


def cross_fitted_accuracy(right: Mapping[str, Numbers], clusters: NDArray[np.int64], seed: int) -> float | None:
    """Mean accuracy of routing where each image is answered by what the others decided; None if there are too few.

    Images of one cluster are left out together, a tenth of the clusters at a time.
    """
    count = int(clusters.max()) + 1
    if count < _PARTS:
        return None
    part = (np.random.default_rng(seed).permutation(count) % _PARTS)[clusters]
    routed = np.full_like(right[BLIP2], np.nan)
    for number in range(_PARTS):
        rest, held_out = part != number, part == number
        answered = ~np.isnan(right[BLIP2][rest]).all(axis=0)  # elsewhere BLIP-2 stays: nothing speaks against it
        names = np.full(routed.shape[1], BLIP2, dtype=object)
        if answered.any():
            known = {name: table[rest][:, answered] for name, table in right.items()}
            names[answered] = choose(known, np.unique(clusters[rest], return_inverse=True)[1], seed)[0]
        for place, name in enumerate(names):
            routed[held_out, place] = right[name][held_out, place]
    return float(np.nanmean(routed, axis=0).mean())


def mean_accuracy(right: Mapping[str, Numbers], chosen: Sequence[str]) -> float:
    """Mean over questions of the accuracy of the chosen models."""
    return float(np.mean([np.nanmean(right[name][:, place]) for place, name in enumerate(chosen)]))


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
