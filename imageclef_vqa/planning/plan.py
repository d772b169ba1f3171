"""What one device holds and computes in a step: parts in bytes, operations, steps, time, and what would make it fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from imageclef_vqa.devices import Precision
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.models.presets import GLMConfig, Preset, T5Config
from imageclef_vqa.planning import activations, operations
from imageclef_vqa.planning.parameters import (
    BEAM,
    Counts,
    cache_numbers,
    count,
    head_parameters,
    images_at_once,
    largest_matrix,
    trained,
)
from imageclef_vqa.training.recipe import Recipe

Stage = Literal["1", "2", "predict"]
PARTS = ("weights", "gradients", "optimiser", "activations", "cache", "program", "slack")

# Tokens of the longest question in T5's vocabulary, and of an answer as the paper caps it (section 3.1); a statement of
# stage 1 has both.
QUESTION, ANSWER = 14, 10
# Resident memory of Python, Paddle and PaddleNLP before there is a model.
PROGRAM = 0.65e9
# What the allocator holds beyond what is in use: of the peaks that were measured, 4 to 20% of what was asked for.
SLACK = 0.1


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
    question: int = QUESTION  # tokens
    answer: int = ANSWER

    @property
    def trains_vision(self) -> bool:
        return self.stage == "2" and not self.recipe.freeze_vision

    @property
    def half(self) -> bool:
        return self.precision != "fp32"

    @property
    def per_device(self) -> int:
        """Images that one device computes at once."""
        if self.stage == "predict":
            return images_at_once(self.preset, len(QUESTIONS), self.question)
        return math.ceil(self.recipe.batch / self.recipe.accumulate / self.devices)

    @property
    def parts(self) -> int:
        """How many such goes make a step."""
        return 1 if self.stage == "predict" else self.recipe.accumulate

    @property
    def pairs(self) -> int:
        return self.per_device * (len(QUESTIONS) if self.stage == "predict" else self.recipe.questions)

    @property
    def prefix(self) -> int:
        """Tokens that a language model reads before an answer: visual ones, the question, and GLM's gap."""
        return self.preset.qformer.queries + self.question + isinstance(self.preset.language, GLMConfig)


@dataclass(frozen=True)
class Plan:
    """Bytes of each part on one device, the largest sum that is ever there, and the work."""

    counts: Counts
    heads: int
    trained: int
    parts: dict[str, float]
    peak: float
    host: float  # bytes of frozen vision's features, which are made once and kept outside the device
    operations: float  # of one step on one device, all its parts; in prediction, of one call
    once: float  # operations on each device before the first step: the frozen features
    steps: int

    def seconds(self, rate: float) -> float:
        """At a sustained rate of operations per second and device."""
        return (self.steps * self.operations + self.once) / rate


def make_plan(setting: Setting) -> Plan:
    """The plan of a setting.

    Activations are freed while gradients come to be, so the peak is below the sum of the parts: it lies where the
    backward pass begins, or where it has ended. Sizes in float32 are held to measurements; those in half precision
    (weights in both, activations in half) and on several devices (the optimiser's state shared out) are arithmetic.
    """
    counts, predicts = count(setting.preset), setting.stage == "predict"
    heads = head_parameters(setting.preset.qformer) if setting.stage == "1" else 0
    learning = 0 if predicts else trained(counts, int(setting.stage), heads, vision=setting.trains_vision)
    number = 2 if setting.half else 4  # bytes
    parts = {
        "weights": _weights(setting, counts, heads, learning),
        "gradients": 4.0 * learning,
        "optimiser": 8.0 * learning / setting.devices,
        "activations": (_answering(setting) if predicts else _kept(setting)) * number
        + (4.0 * largest_matrix(setting.preset.language) if setting.language_bits < 32 else 0.0),
        "cache": float(number * setting.pairs * cache_numbers(setting.preset.language, setting.prefix))
        if predicts
        else 0.0,
        "program": PROGRAM,
    }
    larger = max(parts["activations"], parts["gradients"])
    asked_for = parts["weights"] + parts["optimiser"] + parts["cache"] + larger
    parts["slack"] = SLACK * asked_for
    frozen = not predicts and not setting.trains_vision
    vision = setting.preset.vision
    return Plan(
        counts=counts,
        heads=heads,
        trained=learning,
        parts=parts,
        peak=asked_for + parts["slack"] + PROGRAM,
        host=4.0 * setting.images * (1 + vision.patches) * vision.width if frozen else 0.0,
        operations=_operations(setting) * setting.parts,
        once=operations.vision(vision, setting.images) / setting.devices if frozen else 0.0,
        steps=math.ceil(setting.images / (setting.per_device * setting.parts * setting.devices))
        * (1 if predicts else setting.recipe.epochs),
    )


def smallest_change(setting: Setting, memory: float) -> tuple[list[str], Setting] | None:
    """What makes a setting fit into `memory` bytes: one change if one is enough, else several together.

    Those come first that change no result, then those that cost least; None where all of them are not enough.
    """
    for words, changed in _changes(setting):
        if make_plan(changed).peak <= memory:
            return [words], changed
    said: list[str] = []
    while changes := list(_changes(setting)):
        # The first kind of change that helps, as far as it goes if need be.
        best = min(changes, key=lambda change: make_plan(change[1]).peak)
        words, setting = next((each for each in changes if make_plan(each[1]).peak <= memory), best)
        said.append(words)
        if make_plan(setting).peak <= memory:
            return said, setting
    return None


def _changes(setting: Setting) -> Iterator[tuple[str, Setting]]:
    """Every single change that takes less memory, in the order in which one would choose them."""
    recipe, vision = setting.recipe, setting.preset.vision
    if setting.trains_vision and not vision.recompute:
        preset = replace(setting.preset, vision=replace(vision, recompute=True))
        yield "recompute vision's activations (--recompute)", replace(setting, preset=preset)
    if setting.stage == "2":
        parts = 2 * recipe.accumulate
        while parts * setting.devices <= recipe.batch:
            yield f"compute a batch in {parts} parts (--accumulate {parts})", _with(setting, accumulate=parts)
            parts *= 2
    for bits in (16, 8):
        if bits < setting.language_bits:
            how = {16: "half precision", 8: "8 bits (`medvqa weights shrink`)"}[bits]
            yield f"keep the language model in {how}", replace(setting, language_bits=bits)
    if setting.stage == "2":
        for questions in (9, 6, 3, 1):
            if questions < recipe.questions:
                asked = f"ask {questions} of an image's questions at a time (--questions {questions})"
                yield asked, _with(setting, questions=questions)
    if setting.stage == "1":  # whose contrastive loss sees a part of a batch alone
        batch = recipe.batch // 2
        while batch >= setting.devices:
            yield f"take {batch} image{'s' * (batch > 1)} a step (--batch {batch})", _with(setting, batch=batch)
            batch //= 2
    if setting.trains_vision:
        yield "freeze vision (--freeze-vision)", _with(setting, freeze_vision=True)


def _with(setting: Setting, **changes: Any) -> Setting:
    return replace(setting, recipe=setting.recipe.model_copy(update=changes))


def _weights(setting: Setting, counts: Counts, heads: int, learning: int) -> float:
    """Bytes: the language model as stored; the rest in float32, and where half precision computes, in half precision,
    what learns in both."""
    rest = counts.total - counts.language + heads
    beside = 2 * rest + 4 * learning if setting.half else 4 * rest
    return counts.language * setting.language_bits / 8 + beside


def _kept(setting: Setting) -> float:
    """Numbers kept for the backward pass of a step on one device."""
    preset, i = setting.preset, setting.per_device
    patches, width = 1 + preset.vision.patches, preset.vision.width
    if setting.stage == "1":
        statement = setting.question + setting.answer
        return activations.representation(preset.qformer, i, statement, patches, width)
    kept = activations.vision(preset.vision, i) if setting.trains_vision else i * patches * width
    kept += activations.queries(preset.qformer, i, patches)
    return kept + activations.language(
        preset.language, setting.pairs, setting.prefix, setting.answer, stored=setting.language_bits < 32
    )


def _answering(setting: Setting) -> float:
    """Numbers that exist at once without a backward pass: those of one layer, of vision or of the language model."""
    preset, i, n = setting.preset, setting.per_device, setting.pairs
    vision = replace(preset.vision, layers=1, recompute=False)
    one = replace(preset.language, num_layers=1)
    if isinstance(one, T5Config):
        one = replace(one, num_decoder_layers=1)
    language = activations.language(one, n, setting.prefix, BEAM, stored=True)
    return max(activations.vision(vision, i), language)


def _operations(setting: Setting) -> float:
    """Of a step on one device. A backward pass takes two forward passes, and one where weights do not learn."""
    preset, i = setting.preset, setting.per_device
    patches = 1 + preset.vision.patches
    if setting.stage == "1":
        return 3 * operations.representation(preset.qformer, i, setting.question + setting.answer, patches)
    queries = operations.queries(preset.qformer, i, patches)
    language = operations.language(preset.language, setting.pairs, setting.prefix, setting.answer)
    vision = operations.vision(preset.vision, i)
    if setting.stage == "predict":
        said = operations.language(preset.language, setting.pairs, 0, setting.answer)
        return vision + queries + language + (BEAM - 1) * said
    return (3 + preset.vision.recompute) * vision * setting.trains_vision + 3 * queries + 2 * language
