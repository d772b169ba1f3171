"""Who answers a question: what held-out images can tell, and no more.

Two tests, both on paired differences to BLIP-2, both by a bootstrap that draws near-duplicates together, both passed
only where the 95% interval lies above zero.

*One question, right and wrong answers.* The differences of accuracy between a rival and BLIP-2, one per question, are
taken as draws around a common mean (empirical Bayes; DerSimonian and Laird 1986 for the spread between questions).
Each is shrunk towards that mean, the more so the less its images say: few images then suffice where a rival is better
everywhere, while a lone lucky question convinces nobody. A rival never takes a question where it did worse on these
very images. With 48 images and 15 questions, in simulation: rivals equal to BLIP-2 take 2% of the questions; those
better by 8 points everywhere take over 90%; those better by 25 points on three questions alone take these in over 80%
of the runs, and the others in 5%.

*All questions, probabilities.* Differences of a point or two, which is what real rivals differ by, no 48 images show
in right and wrong answers. In the quadratic score of the probabilities they do show for a blend (`stacking`), whose
shares were fitted to other images than it is tested on: where it passes, the blend has what BLIP-2 would have kept.
"""

from __future__ import annotations

from collections.abc import Mapping
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

    def in_points(self) -> str:
        """`+1.2 [-0.3,+2.7]`, in hundredths."""
        return f"{100 * self.value:+.1f} [{100 * self.low:+.1f},{100 * self.high:+.1f}]"


@dataclass(frozen=True)
class Decision:
    """Who answers a question and why; accuracies by model on the validation images, if any has a gold answer."""

    question_id: int
    model: str
    reason: str
    accuracies: Mapping[str, Estimate]
    rival: str | None = None  # who came closest to replacing BLIP-2, or did
    shares: Mapping[str, float] | None = None  # of the models in the blend


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


@dataclass(frozen=True)
class Choice:
    """The model that answers a question, the rival that came closest, and the reason."""

    model: str
    rival: str
    reason: str


def choose(right: Mapping[str, Numbers], clusters: NDArray[np.int64], seed: int) -> list[Choice]:
    """Decide each question on right and wrong answers; `right` as in `compare`, by model."""
    rivals = {name: compare(right[name], right[BLIP2], clusters, seed) for name in right if name != BLIP2}
    choices = []
    for index in range(right[BLIP2].shape[1]):
        able = [name for name, comparison in rivals.items() if comparison.takes[index]]
        # Not by the shrunken differences: each rival is shrunk towards a mean of its own.
        name = max(able or rivals, key=lambda name: (rivals[name].observed[index], rivals[name].pooled.value))
        gain, error = rivals[name].shrunken[index], rivals[name].error[index]
        reason = Estimate(gain, gain - _Z95 * error, gain + _Z95 * error).in_points()
        if gain > _Z95 * error and not able:
            reason += ", worse here"
        choices.append(Choice(name if able else BLIP2, name, reason))
    return choices


def mean_gain(table: Numbers, clusters: NDArray[np.int64], seed: int) -> Estimate:
    """The mean over questions of paired differences [image, question], NaN where there are none, with its interval."""
    draws = resampled_means(table, clusters, seed=seed, resamples=_RESAMPLES)
    return Estimate(float(np.nanmean(table, axis=0).mean()), *interval95(np.nanmean(draws, axis=1)))


def accuracies(right: Mapping[str, Numbers], clusters: NDArray[np.int64], seed: int) -> list[dict[str, Estimate]]:
    """For each question, each model's accuracy with its clustered 95% interval."""
    questions: list[dict[str, Estimate]] = [{} for _ in range(right[BLIP2].shape[1])]
    for name, table in right.items():
        draws = resampled_means(table, clusters, seed=seed, resamples=_RESAMPLES)
        for index, value in enumerate(np.nanmean(table, axis=0)):
            questions[index][name] = Estimate(float(value), *interval95(draws[:, index]))
    return questions


def parts_of(clusters: NDArray[np.int64], seed: int) -> NDArray[np.int64] | None:
    """A tenth of the clusters at a time, by number [image]; None if there are too few of them."""
    numbers, position = np.unique(clusters, return_inverse=True)
    if len(numbers) < _PARTS:
        return None
    return np.asarray((np.random.default_rng(seed).permutation(len(numbers)) % _PARTS)[position])
