"""Temperature scaling (Guo et al. 2017): one temperature per run, fitted on the validation fold.

The temperature changes an answer's probability among all allowed answers to p^(1/T), normalised. Their order stays, so
no answer changes. The effect on the expected calibration error is cross-fitted: each part of the validation fold is
evaluated with the temperature fitted on the other parts, and near-duplicates are in the same part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from imageclef_vqa.artefacts import check_artefact, write_artefact
from imageclef_vqa.editions import as_set
from imageclef_vqa.inference.ranked import Ranked
from imageclef_vqa.inputs import read_model
from imageclef_vqa.statistics import expected_calibration_error
from imageclef_vqa.workspace import Workspace

_TEMPERATURES = np.geomspace(0.25, 4.0, 161)
_PARTS = 5
_MIN_PROBABILITY = 1e-6  # bounds the loss of a label outside the vocabulary


Rule = Literal["likeliest", "expected"]  # which sentence is the answer: `inference.choice`


class Calibration(BaseModel):
    """`work/<run>/calibration.json`: the temperature for the answers of `model`, and its cross-fitted effect.

    Augmented answers have their own file, `calibration-augmented.json`.

    `error` is the expected calibration error of the chosen answers, `nll` the mean negative log-probability of the gold
    answers, each before and after.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    temperature: float = Field(gt=0, allow_inf_nan=False)
    pairs: int
    error: tuple[float, float]
    nll: tuple[float, float]
    # Of sentences: which of those that were found is the answer, the metrics of each rule, and expected METEOR as a
    # line of what the probabilities say.
    rule: Rule | None = None
    metrics: dict[Rule, dict[str, float]] = {}
    meteor: tuple[float, float] = (0.0, 1.0)  # where the line starts, and its slope

    @property
    def digest(self) -> str:
        """A hash of what answers depend on; the rest, which tells how good it is, may differ in rounding."""
        return hashlib.sha256(f"{self.model} {self.temperature} {self.rule} {self.meteor}".encode()).hexdigest()


class LabelledPair(NamedTuple):
    """A pair with its gold answers and the group of near-duplicates of its image."""

    ranked: Ranked
    gold: tuple[str, ...]
    group: int


def apply_temperature(ranked: Ranked, temperature: float) -> Ranked:
    """The same answers with probabilities scaled by `temperature`, normalised over all allowed answers.

    The probability missing from the list is taken to be that of answers as likely as the last one listed.
    """
    if temperature == 1.0:
        return ranked
    weights, rest = _scale(np.array([p for _, p in ranked]), np.array([temperature]))
    total = weights.sum() + rest.sum()
    return tuple((answers, float(p)) for (answers, _), p in zip(ranked, weights[0] / total, strict=True))


def calibrate(pairs: Iterable[LabelledPair], model: str) -> Calibration:
    """The temperature with the smallest NLL, or 1 if that is not better on the other parts (cross-fitting)."""
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


_NEUTRAL = len(_TEMPERATURES) // 2  # the index of temperature 1


def read_calibration(workspace: Workspace, model: str, *, augment: bool) -> Calibration | None:
    """The calibration of this model; None if it was not calibrated.

    Raises:
        ChangedError: the file is not the one that was written.
    """
    path = workspace.calibration_of(augment=augment)
    if not path.exists():
        return None
    again = workspace.typed("medvqa predict --fold val" + " --augment" * augment)
    check_artefact(path, workspace.shown(path), remedy := f"`{again}` makes it again")
    found = read_model(path, Calibration, remedy)
    return found if found.model == model else None


def write_calibration(
    workspace: Workspace, calibration: Calibration, *, augment: bool, inputs: Mapping[str, str]
) -> None:
    """Write the calibration with its record; `inputs` are the models and the data that it was fitted to."""
    write_artefact(
        workspace.calibration_of(augment=augment),
        (calibration.model_dump_json(indent=2) + "\n").encode(),
        command="predict --fold val",
        inputs=inputs,
        options={"augment": augment},
    )


def _smallest(nll: np.ndarray) -> int:
    return int(nll.mean(axis=0).argmin())


def _scale(probability: np.ndarray, temperatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unnormalised weights at t temperatures: [t, l] of l listed answers, [t] of all others together."""
    rest, last = _rest(probability), max(float(probability[-1]), 1e-30)
    power = 1.0 / temperatures
    weights = np.maximum(probability, 1e-30)[None, :] ** power[:, None]
    many = rest / last
    others = many * last**power if many > 1 else rest**power if rest > 0 else np.zeros_like(power)
    return weights, others


def _rest(probability: np.ndarray) -> float:
    """The probability of all answers that are not listed."""
    rest = 1.0 - float(probability.sum())
    # A rounding error is no answer: with a temperature of 4, 1e-16 would become 1e-4.
    return rest if rest > 1e-12 else 0.0


def _curves(pair: LabelledPair) -> tuple[np.ndarray, np.ndarray]:
    """NLL of the gold answer and probability of the likeliest one, at every temperature."""
    probability = np.array([p for _, p in pair.ranked])
    weights, others = _scale(probability, _TEMPERATURES)
    total = weights.sum(axis=1) + others
    gold = as_set(pair.gold)
    index = next((i for i, (answers, _) in enumerate(pair.ranked) if as_set(answers) == gold), None)
    if index is not None:
        share = weights[:, index] / total
    else:  # one of the answers that are not listed
        share = others / total / max(1.0, _rest(probability) / max(float(probability[-1]), 1e-30))
    return -np.log(np.maximum(share, _MIN_PROBABILITY)), weights[:, 0] / total
