"""What one device holds and computes in a step: parts in bytes, operations, steps, time, and what would make it fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from imageclef_vqa.models.parameters import Counts, count, head_parameters, largest_matrix, trained
from imageclef_vqa.models.presets import GLMConfig, Preset
from imageclef_vqa.training.plan import activations, operations
from imageclef_vqa.training.recipe import Recipe

Stage = Literal["1", "2", "predict"]
Precision = Literal["fp32", "fp16", "bf16"]
PARTS = ("weights", "gradients", "optimiser", "activations", "cache")

# Tokens: the longest question has so many in T5's vocabulary and in ChatGLM's; answers as the paper caps them
# (section 3.1); a statement of stage 1 has both.
QUESTION, ANSWER = 14, 10
BEAM, IMAGES_AT_ONCE = 5, 16  # of prediction
# What python, Paddle and PaddleNLP take before there is a model (resident set after the imports, two-core CPU).
PROGRAM = 0.65e9


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A stage of a preset on a number of devices. `batch` counts images on all of them together."""

    preset: Preset
    stage: Stage
    recipe: Recipe
    precision: Precision = "fp32"
    devices: int = 1
    language_bits: int = 16
    images: int = 1800  # of the training fold: nine tenths of the development set

    @property
    def trains_vision(self) -> bool:
        return self.stage == "2" and self.recipe.train_vision

    @property
    def per_device(self) -> int:
        """Images of a step, or of a call in prediction, on one device."""
        return IMAGES_AT_ONCE if self.stage == "predict" else math.ceil(self.recipe.batch / self.devices)

    @property
    def pairs(self) -> int:
        return self.per_device * (18 if self.stage == "predict" else self.recipe.questions)

    @property
    def prefix(self) -> int:
        """Tokens that a language model reads before an answer: visual ones, the question, and GLM's gap."""
        return self.preset.qformer.queries + QUESTION + (1 if isinstance(self.preset.language, GLMConfig) else 0)


@dataclass(frozen=True)
class Plan:
    """Bytes of each part on one device, the largest sum that is ever there, and the work."""

    counts: Counts
    heads: int
    trained: int
    parts: dict[str, float]
    peak: float
    operations: float  # of one step on all devices; in prediction, of one call
    steps: int


def make_plan(setting: Setting) -> Plan:
    """The plan of a setting.

    Activations are freed while gradients come to be, so the peak is below the sum of the parts: it lies where the
    backward pass begins, or where it has ended. Sizes in float32 are held to measurements; those in half precision
    (weights in both, activations in half) and on several devices (the optimiser's state shared out) are arithmetic.
    """
    counts = count(setting.preset)
    heads = head_parameters(setting.preset.qformer) if setting.stage == "1" else 0
    learning = 0 if setting.stage == "predict" else trained(counts, int(setting.stage), heads, vision=setting.trains_vision)
    half = setting.precision != "fp32"
    parts = dict.fromkeys(PARTS, 0.0)
    parts["weights"] = PROGRAM + _weights(setting, counts, heads, learning)
    parts["gradients"] = 4.0 * learning
    parts["optimiser"] = 8.0 * learning / setting.devices
    parts["activations"] = _activations(setting) * (2 if half else 4) + _working(setting)
    parts["cache"] = _cache(setting) * (2 if half else 4)
    steady = parts["weights"] + parts["optimiser"] + parts["cache"]
    return Plan(
        counts=counts,
        heads=heads,
        trained=learning,
        parts=parts,
        peak=steady + max(parts["activations"], parts["gradients"]),
        operations=_operations(setting),
        steps=_steps(setting),
    )


def smallest_change(setting: Setting, memory: float) -> tuple[list[str], Setting] | None:
    """What makes a setting fit into `memory` bytes: one change if one is enough, else several together.

    Those come first that change no result, then those that cost least; None where nothing helps.
    """
    changes = list(_changes(setting))
    for words, change in changes:
        if make_plan(changed := change(setting)).peak <= memory:
            return [words], changed
    said: dict[str, str] = {}
    for words, change in changes:
        before, after = make_plan(setting).peak, make_plan(changed := change(setting)).peak
        if after < before:
            said, setting = said | {words.split()[0]: words}, changed
        if make_plan(setting).peak <= memory:
            return list(said.values()), setting
    return None
