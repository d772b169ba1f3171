"""Honest probabilities: one temperature per run, fitted on the validation fold (Guo et al. 2017, temperature scaling).

The temperature bends an answer's probability among all allowed answers, p^(1/T) over its sum, and leaves their order:
no answer changes. What it does to the expected calibration error is told cross-fitted: every part of the validation
fold is judged by the temperature of the others, and near-duplicates lie in one part.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imageclef_vqa.editions import as_set
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.files import write_text
from imageclef_vqa.inference.ranked import Ranked
from imageclef_vqa.statistics import expected_calibration_error

_TEMPERATURES = np.geomspace(0.25, 4.0, 161)
_PARTS = 5
_LEAST = 1e-6  # the probability of what cannot be said, so that one such label does not decide alone


class Calibration(BaseModel):
    """`work/<run>/calibration.json`: the temperature for the answers of `model`, and what it does, cross-fitted.

    `error` is the expected calibration error of the answers given, `nll` the mean negative log-likelihood of the
    gold answers, each before and after.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    temperature: float = Field(gt=0, allow_inf_nan=False)
    pairs: int
    error: tuple[float, float]
    nll: tuple[float, float]


class Judged(NamedTuple):
    """A pair with gold answers: what was ranked, the gold, and the group of near-duplicates that its image is in."""

    ranked: Ranked
    gold: tuple[str, ...]
    group: int


def temper(ranked: Ranked, temperature: float) -> Ranked:
    """The same answers with their probabilities bent by `temperature`, still shares of all allowed answers.

    What is not listed counts as so many answers as likely as the last listed one as make up the missing probability.
    """
    if temperature == 1.0:
        return ranked
    weights, rest = _bend(np.array([p for _, p in ranked]), np.array([temperature]))
    total = weights.sum() + rest.sum()
    return tuple((answers, float(p)) for (answers, _), p in zip(ranked, weights[0] / total, strict=True))


def calibrate(pairs: Iterable[Judged], model: str) -> Calibration:
    """The temperature with the lowest NLL; 1, which changes nothing, if cross-fitting does not confirm a gain."""
    pairs = list(pairs)
    nll, confidence = map(np.array, zip(*map(_curves, pairs), strict=True))  # [pair, temperature]
    right = np.array([as_set(pair.ranked[0][0]) == as_set(pair.gold) for pair in pairs])
    _, group = np.unique([pair.group for pair in pairs], return_inverse=True)
    part = group % _PARTS
    chosen = np.array([_smallest(nll[part != p]) if (part != p).any() else _NEUTRAL for p in range(_PARTS)])[part]
    each = np.arange(len(pairs))
    before, after = nll[:, _NEUTRAL].mean(), nll[each, chosen].mean()
    plain = expected_calibration_error(confidence[:, _NEUTRAL], right)
    if after >= before:
        return Calibration(model=model, temperature=1.0, pairs=len(pairs), error=(plain, plain), nll=(before, before))
    return Calibration(
        model=model,
        temperature=round(float(_TEMPERATURES[_smallest(nll)]), 4),
        pairs=len(pairs),
        error=(plain, expected_calibration_error(confidence[each, chosen], right)),
        nll=(before, after),
    )


_NEUTRAL = len(_TEMPERATURES) // 2  # where the temperature is 1


def read_calibration(path: Path, model: str) -> Calibration | None:
    """The calibration of just this model; None if it was not calibrated.

    Raises:
        MedvqaError: the file is damaged.
    """
    try:
        found = Calibration.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise MedvqaError(f"{path} is damaged", remedy="`medvqa predict --fold val` makes it anew") from error
    return found if found.model == model else None


def write_calibration(path: Path, calibration: Calibration) -> None:
    write_text(path, calibration.model_dump_json(indent=2) + "\n")


def _smallest(nll: np.ndarray) -> int:
    return int(nll.mean(axis=0).argmin())


def _bend(probability: np.ndarray, temperatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights [t, l] of l listed answers, and of all others together [t], at t temperatures; not yet shares."""
    rest, last = _rest(probability), max(float(probability[-1]), 1e-30)
    power = 1.0 / temperatures
    weights = np.maximum(probability, 1e-30)[None, :] ** power[:, None]
    many = rest / last
    others = many * last**power if many > 1 else rest**power if rest > 0 else np.zeros_like(power)
    return weights, others


def _rest(probability: np.ndarray) -> float:
    """The probability of what is not listed."""
    rest = 1.0 - float(probability.sum())
    # Rounding is no answer: bent by a temperature of 4, 1e-16 would be 1e-4.
    return rest if rest > 1e-12 else 0.0


def _curves(pair: Judged) -> tuple[np.ndarray, np.ndarray]:
    """NLL of the gold answer, and probability of the given one, at every temperature."""
    probability = np.array([p for _, p in pair.ranked])
    weights, others = _bend(probability, _TEMPERATURES)
    total = weights.sum(axis=1) + others
    gold = as_set(pair.gold)
    place = next((at for at, (answers, _) in enumerate(pair.ranked) if as_set(answers) == gold), None)
    if place is not None:
        share = weights[:, place] / total
    else:  # one of the many that are not listed
        share = others / total / max(1.0, _rest(probability) / max(float(probability[-1]), 1e-30))
    return -np.log(np.maximum(share, _LEAST)), weights[:, 0] / total
