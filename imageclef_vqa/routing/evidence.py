"""Evidence of held-out images for replacing BLIP-2's answers by a rival's.

There are two tests. Both look at paired differences to BLIP-2 with a bootstrap that resamples near-duplicates
together, and both are passed if the 95% interval lies above zero.

*Accuracy on one question.* The accuracy differences between a rival and BLIP-2, one per question, are taken as draws
around a common mean (empirical Bayes, with DerSimonian and Laird 1986 for the variance between questions). Each is
shrunk towards that mean, more strongly if it has few images. Then few images suffice for a rival that is better
everywhere, but luck on one question does not. A rival never gets a question on which it did worse on these images.

*Quadratic score on all questions.* Few images cannot show differences of one or two points of accuracy, but they show
them in the quadratic score of the blend (`stacking`), whose shares are fitted to other images than it is tested on. If
the blend passes, it gets the questions that BLIP-2 would have kept.
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
_NUM_FOLDS = 10


@dataclass(frozen=True)
class Estimate:
    """A value and its 95% interval."""

    value: float
    low: float
    high: float

    def as_gain(self) -> str:
        """`+0.012 [-0.003,+0.027]`."""
        return f"{self.value:+.3f} [{self.low:+.3f},{self.high:+.3f}]"


@dataclass(frozen=True)
class Decision:
    """The model that answers a question, with the reason; accuracies by model where validation has gold answers."""

    question_id: int
    model: str
    reason: str
    accuracies: Mapping[str, Estimate]
    rival: str | None = None  # the model that replaces BLIP-2 or came closest to it
    shares: Mapping[str, float] | None = None  # of the models in the blend, by name


@dataclass(frozen=True)
class RivalGains:
    """A rival's accuracy minus BLIP-2's: observed and shrunken [q], the latter with standard errors, and pooled."""

    observed: Numbers
    shrunken: Numbers
    error: Numbers
    pooled: Estimate

    @property
    def significant(self) -> NDArray[np.bool_]:
        """The questions [q] that the rival may answer."""
        return (self.shrunken - _Z95 * self.error > 0) & (self.observed >= 0)


def gains_of(rival: Numbers, blip2: Numbers, clusters: NDArray[np.int64], seed: int) -> RivalGains:
    """Compare two tables [image, question] of right (1) and wrong (0) answers, NaN where there is no gold answer.

    Every question has a gold answer on at least one image. `clusters` [image] are numbered from 0, as in `clusters_of`.
    """
    differences = rival - blip2
    draws = resampled_means(differences, clusters, seed=seed, resamples=_RESAMPLES)
    observed = np.nanmean(differences, axis=0)
    # As with one more win and one more loss: few images without any difference do not make the variance zero.
    floor = 2 / len(np.unique(clusters)) ** 2
    variance = np.nanvar(draws, axis=0) + floor
    mean, mean_draws = observed.mean(), np.nanmean(draws, axis=1)
    mean_variance = mean_draws.var() + floor / len(observed)
    between = max(0.0, observed.var(ddof=1) - variance.mean()) if len(observed) > 1 else 0.0
    own = between / (between + variance)
    return RivalGains(
        observed=observed,
        shrunken=mean + own * (observed - mean),
        error=np.sqrt(own * variance + (1 - own) ** 2 * mean_variance),
        pooled=Estimate(float(mean), *interval95(mean_draws)),
    )


@dataclass(frozen=True)
class Choice:
    """The model that answers a question, the best rival, and the reason."""

    model: str
    rival: str
    reason: str


def choose(right: Mapping[str, Numbers], clusters: NDArray[np.int64], seed: int) -> list[Choice]:
    """Choose a model for each question by accuracy; `right` holds tables as in `gains_of`, by model."""
    rivals = {name: gains_of(right[name], right[BLIP2], clusters, seed) for name in right if name != BLIP2}
    choices = []
    for index in range(right[BLIP2].shape[1]):
        better = [name for name, gains in rivals.items() if gains.significant[index]]
        # By the observed differences, because the shrunken ones depend on each rival's own mean.
        name = max(better or rivals, key=lambda name: (rivals[name].observed[index], rivals[name].pooled.value))
        gain, error = rivals[name].shrunken[index], rivals[name].error[index]
        reason = Estimate(gain, gain - _Z95 * error, gain + _Z95 * error).as_gain()
        if gain > _Z95 * error and not better:
            reason += ", worse here"
        choices.append(Choice(name if better else BLIP2, name, reason))
    return choices


def mean_gain(table: Numbers, clusters: NDArray[np.int64], seed: int) -> Estimate:
    """The mean over questions of paired differences [image, question], NaN where there is none, with its interval."""
    draws = resampled_means(table, clusters, seed=seed, resamples=_RESAMPLES)
    return Estimate(float(np.nanmean(table, axis=0).mean()), *interval95(np.nanmean(draws, axis=1)))


def accuracies(right: Mapping[str, Numbers], clusters: NDArray[np.int64], seed: int) -> list[dict[str, Estimate]]:
    """For each question, each model's accuracy with its 95% interval from the clustered bootstrap."""
    questions: list[dict[str, Estimate]] = [{} for _ in range(right[BLIP2].shape[1])]
    for name, table in right.items():
        draws = resampled_means(table, clusters, seed=seed, resamples=_RESAMPLES)
        for index, value in enumerate(np.nanmean(table, axis=0)):
            questions[index][name] = Estimate(float(value), *interval95(draws[:, index]))
    return questions


def folds_of(clusters: NDArray[np.int64], seed: int) -> NDArray[np.int64] | None:
    """The fold [image] of ten, in which clusters stay together; None if there are fewer clusters than folds."""
    numbers, index = np.unique(clusters, return_inverse=True)
    if len(numbers) < _NUM_FOLDS:
        return None
    return np.asarray((np.random.default_rng(seed).permutation(len(numbers)) % _NUM_FOLDS)[index])
