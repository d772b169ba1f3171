"""What one device holds and computes in a step: bytes of each part, operations, steps, time."""

from __future__ import annotations

from dataclasses import dataclass

from imageclef_vqa.models.configs.language import BEAM
from imageclef_vqa.planning.operations import flops, flops_pair_by_pair, flops_per_pair
from imageclef_vqa.planning.parameters import Counts, count_parameters, trained_parameters
from imageclef_vqa.planning.workload import Workload

PARTS = ("weights", "gradients", "optimiser", "activations", "cache", "program", "slack")

# Bytes of resident memory that Python, Paddle and PaddleNLP take before there is a model.
PROGRAM = 0.65e9
# The allocator holds more than is in use: at the measured peaks, 4 to 20% of what was allocated.
SLACK = 0.1


@dataclass(frozen=True)
class Plan:
    """Bytes of each part on one device, their peak, and the operations."""

    counts: Counts
    heads: int  # parameters of stage 1's heads; 0 in other stages
    trained: int  # parameters
    parts: dict[str, float]  # bytes
    peak: float  # bytes
    disk: float  # bytes of frozen vision's features, which are computed once, rounded to fp16
    flops: float  # of one step on one device, all its parts; in prediction, of one batch
    feature_flops: float  # on each device before the first step, for the frozen features
    flops_per_pair: float  # of a pair of image and question (stage 1: image and statement), in the whole stage
    flops_pair_by_pair: float  # the same in a loop that runs vision and Q-Former for every pair and keeps nothing
    steps: int

    def seconds(self, rate: float) -> float:
        """At a sustained rate of operations per second and device."""
        return (self.steps * self.flops + self.feature_flops) / rate


def make_plan(workload: Workload) -> Plan:
    """The plan of a workload.

    Activations are freed while gradients are allocated, so the peak is below the sum of the parts: it lies at the
    start or at the end of the backward pass. Sizes in float32 agree with measurements
    (`examples/benchmarks/plan_memory.py`). Sizes in half precision (weights in both, activations in half) and on
    several devices (the optimiser's state is sharded) are arithmetic.
    """
    preset, counts = workload.preset, count_parameters(workload.preset, workload.adapters)
    heads = preset.qformer.head_parameters() if workload.stage == "1" else 0
    trained = (
        0
        if workload.predicts
        else trained_parameters(
            counts,
            int(workload.stage),
            heads,
            vision=workload.trains_vision,
            language=preset.learns_language,
        )
    )
    parts = _bytes(workload, counts, heads, trained)
    allocated = parts["weights"] + parts["optimiser"] + parts["cache"] + max(parts["activations"], parts["gradients"])
    parts["slack"] = SLACK * allocated
    seen, vision = workload.images * workload.views * workload.caches_features, preset.vision
    return Plan(
        counts=counts,
        heads=heads,
        trained=trained,
        parts=parts,
        peak=allocated + parts["slack"] + PROGRAM,
        disk=2.0 * seen * vision.tokens * vision.width,
        flops=flops(workload, workload.images_per_device, workload.pairs) * workload.parts,
        feature_flops=vision.flops(1) * seen / workload.devices,
        flops_per_pair=flops_per_pair(workload),
        flops_pair_by_pair=flops_pair_by_pair(workload),
        steps=workload.steps,
    )


def _bytes(workload: Workload, counts: Counts, heads: int, trained: int) -> dict[str, float]:
    """Bytes of each part but the slack."""
    language, number = workload.preset.language, 2 if workload.half else 4
    activations = number * (_inference_numbers(workload) if workload.predicts else _activations(workload))
    widened = 4.0 * language.largest_matrix() if workload.language_bits < 32 else 0.0
    cached = workload.pairs * language.cache_numbers(workload.prefix_tokens) if workload.predicts else 0
    return {
        "weights": _weights(workload, counts, heads, trained),
        "gradients": 4.0 * trained,
        "optimiser": 8.0 * trained / workload.devices,
        "activations": activations + widened,
        "cache": float(number * cached),
        "program": PROGRAM,
    }


def _weights(workload: Workload, counts: Counts, heads: int, trained: int) -> float:
    """Bytes: the language model as stored; the rest in float32 or, with half precision, in half precision and what is
    trained in both."""
    rest = counts.total - counts.language + heads
    other = 2 * rest + 4 * trained if workload.half else 4 * rest
    return counts.language * workload.language_bits / 8 + other


def _activations(workload: Workload) -> float:
    """Numbers that a device keeps for the backward pass of a step."""
    preset, i = workload.preset, workload.images_per_device
    patches = preset.vision.tokens
    if workload.stage == "1":
        return preset.qformer.pretraining_activations(i, workload.text_tokens, patches)
    vision = preset.vision.activations(i) if workload.trains_vision else i * patches * preset.vision.width
    language = preset.language.activations(
        workload.pairs,
        workload.prefix_tokens,
        workload.answer_tokens,
        stored=workload.language_bits < 32,
        adapters=workload.adapters,
    )
    return vision + preset.qformer.activations(i, patches) + language


def _inference_numbers(workload: Workload) -> float:
    """Numbers that exist at once without a backward pass: those of one layer, of vision or of the language model."""
    preset = workload.preset
    vision = preset.vision.largest_layer(workload.images_per_device)
    one_layer = preset.language.with_one_layer()
    return max(vision, one_layer.activations(workload.pairs, workload.prefix_tokens, BEAM, stored=True))
