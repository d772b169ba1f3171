"""EfficientNet-Lite as `efficientnet_lite_pytorch` names it (Hugging Face has no other); TensorFlow's own weights.

Batch normalisation becomes part of the convolution before it: w·γ / √(σ² + ε) and β - μ·γ / √(σ² + ε).
"""

from __future__ import annotations

import numpy as np

from imageclef_vqa.checkpoints.folder import FolderConfig
from imageclef_vqa.checkpoints.formats.rules import Rule, SourceLayout, dropped
from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.configs import EFFICIENTNET_LITE

_EPSILON = 1e-3  # `batch_norm_epsilon` of every variant


def _weight(weight: np.ndarray, scale: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """A convolution's weight [c, …] with the scale of its batch normalisation."""
    return weight * (scale / np.sqrt(variance + _EPSILON)).reshape(-1, 1, 1, 1)


def _bias(shift: np.ndarray, scale: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """The bias [c] of a convolution that includes its batch normalisation."""
    return shift - mean * scale / np.sqrt(variance + _EPSILON)


def _normalised(conv: str, norm: str, new: str) -> tuple[Rule, ...]:
    return (
        Rule((f"{conv}.weight", f"{norm}.weight", f"{norm}.running_var"), f"{new}.weight", _weight),
        Rule((f"{norm}.bias", f"{norm}.weight", f"{norm}.running_mean", f"{norm}.running_var"), f"{new}.bias", _bias),
        dropped(f"{norm}.num_batches_tracked", "counts the steps of a training that is over"),
    )


TABLE = (
    *_normalised("_conv_stem", "_bn0", "vision.stem"),
    *_normalised("_blocks.#._expand_conv", "_blocks.#._bn0", "vision.layers.#.expand"),
    *_normalised("_blocks.#._depthwise_conv", "_blocks.#._bn1", "vision.layers.#.depthwise"),
    *_normalised("_blocks.#._project_conv", "_blocks.#._bn2", "vision.layers.#.project"),
    *(dropped(f"{name}.*", "comes after the last block") for name in ("_conv_head", "_bn1", "_fc")),
)


def recognises(source: Source) -> bool:
    return source.has("_conv_stem.weight") and source.has("_blocks.0._depthwise_conv.weight")


def read(source: Source) -> SourceLayout:
    """The table of a state dict; its variant is the one with as many blocks, of this width.

    Raises:
        MedvqaError: it is no Lite variant.
    """
    blocks = sum(name.endswith("._project_conv.weight") for name in source.tensors)
    last = source.tensors.get(f"_blocks.{blocks - 1}._project_conv.weight")
    for sizes in EFFICIENTNET_LITE.values():
        if last is not None and (len(sizes.blocks), sizes.blocks[-1].channels_out) == (blocks, *last.shape[:1]):
            return SourceLayout(FolderConfig(vision=sizes), TABLE, {"vision.norm.*": "BLIP-2's own"})
    raise MedvqaError(
        f"{source.path}: an EfficientNet with {blocks} blocks, which none of {', '.join(EFFICIENTNET_LITE)} has",
        remedy="variants B0 to B8 have squeeze-and-excitation, which is not supported",
    )
