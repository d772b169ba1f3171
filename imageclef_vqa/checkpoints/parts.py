"""The parts of a BLIP-2 by name, each a layer made from its sizes."""

from __future__ import annotations

import paddle
from paddle import nn

from imageclef_vqa.checkpoints.folder import FolderConfig
from imageclef_vqa.checkpoints.layers import own_tensors
from imageclef_vqa.models.encoders import build_encoder
from imageclef_vqa.models.language.languages import build_language
from imageclef_vqa.models.language.paddlenlp import no_init_weights
from imageclef_vqa.models.pretraining_heads import PretrainingHeads
from imageclef_vqa.models.qformer import QFormer
from imageclef_vqa.models.resnet34 import build_expert


def build_part(part: str, config: FolderConfig) -> nn.Layer:
    """One part with random weights; its tensors have the names that they have in its file."""
    if part == "vision" and config.vision is not None:
        return build_encoder(config.vision)
    if part == "language" and config.language is not None:
        return build_language(config.language).model
    if part == "resnet34":
        return build_expert(config.resnet34)
    assert config.qformer is not None
    if part == "qformer":
        return QFormer(config.qformer)
    if part == "heads":
        return PretrainingHeads(config.qformer)
    return nn.Linear(config.qformer.width, config.projection)


def shapes(part: str, config: FolderConfig) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a part, without allocating them."""
    with no_init_weights(), paddle.LazyGuard():
        layer = build_part(part, config)
    return {name: tuple(tensor.shape) for name, tensor in own_tensors(layer).items()}
