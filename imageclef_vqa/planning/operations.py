"""Operations of a stage, and of one of its pairs: with an image's questions together, and pair by pair.

i images, n pairs of image and question (stage 1: of image and statement), t tokens of a prefix.
"""

from __future__ import annotations

from imageclef_vqa.models.configs.language import BEAM
from imageclef_vqa.planning.workload import Workload


def flops(workload: Workload, i: int, n: int) -> float:
    """Operations of a step on i images with n pairs, without features of frozen vision that are cached.

    A backward pass costs two forward passes, or one through frozen weights.
    """
    preset, patches = workload.preset, workload.preset.vision.tokens
    if workload.stage == "1":
        return 3 * preset.qformer.pretraining_flops(i, workload.text_tokens, patches)
    vision, qformer = preset.vision.flops(i), preset.qformer.flops(i, patches)
    language, adapters = _language_flops(workload, n, workload.prefix_tokens)
    if workload.predicts:
        view = vision + qformer + language + adapters + (BEAM - 1) * sum(_language_flops(workload, n, 0))
        return workload.views * view
    return (
        (3 + preset.vision.recompute) * vision * workload.trains_vision
        + 3 * qformer
        + (2 + preset.learns_language) * language
        + 3 * adapters
    )


def flops_per_pair(workload: Workload) -> float:
    """Operations of a pair as they are computed here: vision and Q-Former once per image.

    Features of frozen vision are computed once for each view in all epochs.
    """
    i, n = workload.images_per_device, workload.pairs
    features = workload.preset.vision.flops(1) * workload.views / (workload.questions_per_image * workload.epochs)
    return flops(workload, i, n) / n + features * workload.caches_features


def flops_pair_by_pair(workload: Workload) -> float:
    """Operations of a pair by itself: vision and Q-Former for each pair, frozen vision at every step."""
    return flops(workload, 1, 1) + workload.preset.vision.flops(1) * workload.caches_features


def _language_flops(workload: Workload, n: int, t: int) -> tuple[float, float]:
    """Operations of a forward pass over t tokens and an answer: of the language model, and of its adapters."""
    sizes, a, adapters = workload.preset.language, workload.answer_tokens, workload.adapters
    own = 0.0 if adapters is None else adapters.flops(sizes.linear_layers(mlp=adapters.on_mlp), n, t, a)
    return sizes.flops(n, t, a), own
