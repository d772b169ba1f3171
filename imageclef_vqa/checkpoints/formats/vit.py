"""Vision Transformers by themselves from Hugging Face: `config.json` of a `model_type` in `_FAMILIES`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from imageclef_vqa.checkpoints.folder import CONFIG, FolderConfig
from imageclef_vqa.checkpoints.formats.encoder_names import AFTER, MASK, NEW_NORM, Names, without_positions
from imageclef_vqa.checkpoints.formats.fields import MOST_PIXELS, Fields
from imageclef_vqa.checkpoints.formats.pixels import statistics_of
from imageclef_vqa.checkpoints.formats.rules import SourceLayout, dropped, lead, lead_twice, under
from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.models.activations import ACTIVATIONS
from imageclef_vqa.models.configs import VisionConfig

CLIP = Names(
    stem="embeddings.patch_embedding",
    class_tokens=("embeddings.class_embedding",),
    positions="embeddings.position_embedding.weight",
    layer="encoder.layers",
    qkv=tuple(f"self_attn.{name}_proj" for name in "qkv"),
    out="self_attn.out_proj",
    mlp=("mlp.fc1", "mlp.fc2"),
    norms=("layer_norm1", "layer_norm2"),
    first_norm="pre_layrnorm",
    hows={"class_token": lead_twice, "positions": lead},
    dropped={"embeddings.position_ids": "0, 1, 2, …", "post_layernorm.*": AFTER},
)
SIGLIP = replace(
    CLIP,
    class_tokens=(),
    first_norm=None,
    hows={"positions": lead},
    dropped={**CLIP.dropped, "head.*": AFTER},
)
VIT = Names(
    stem="embeddings.patch_embeddings.projection",
    class_tokens=("embeddings.cls_token",),
    positions="embeddings.position_embeddings",
    layer="encoder.layer",
    qkv=tuple(f"attention.attention.{name}" for name in ("query", "key", "value")),
    out="attention.output.dense",
    mlp=("intermediate.dense", "output.dense"),
    norms=("layernorm_before", "layernorm_after"),
    dropped={"embeddings.mask_token": MASK, "layernorm.*": AFTER, "pooler.*": AFTER},
)
DINOV2 = replace(
    VIT, mlp=("mlp.fc1", "mlp.fc2"), norms=("norm1", "norm2"), scales=("layer_scale1.lambda1", "layer_scale2.lambda1")
)
DINOV2_REGISTERS = replace(DINOV2, registers="embeddings.register_tokens")
DEIT = replace(VIT, class_tokens=("embeddings.cls_token", "embeddings.distillation_token"))
IJEPA = replace(VIT, class_tokens=())


@dataclass(frozen=True)
class _Family:
    """A `model_type`: the prefix of its names, which may be missing, and what its config has by default."""

    names: Names
    prefix: str
    defaults: Mapping[str, object]
    statistics: str  # without a preprocessor's config


_CLIP = {"patch_size": 32, "layer_norm_eps": 1e-5, "hidden_act": "quick_gelu"}
_SIGLIP = {"patch_size": 16, "layer_norm_eps": 1e-6, "hidden_act": "gelu_pytorch_tanh"}
_VIT = {"patch_size": 16, "layer_norm_eps": 1e-12}
_DINOV2 = {"patch_size": 14, "layer_norm_eps": 1e-6}
_FAMILIES = {
    "clip": _Family(CLIP, "vision_model.", _CLIP, "clip"),
    "clip_vision_model": _Family(CLIP, "vision_model.", _CLIP, "clip"),
    "siglip": _Family(SIGLIP, "vision_model.", _SIGLIP, "inception"),
    "siglip_vision_model": _Family(SIGLIP, "vision_model.", _SIGLIP, "inception"),
    "vit": _Family(VIT, "vit.", _VIT, "inception"),
    "vit_mae": _Family(VIT, "vit.", _VIT, "imagenet"),
    "vit_msn": _Family(VIT, "vit.", _VIT | {"layer_norm_eps": 1e-6}, "imagenet"),
    "deit": _Family(DEIT, "deit.", _VIT, "imagenet"),
    "ijepa": _Family(IJEPA, "ijepa.", _VIT | {"layer_norm_eps": 1e-6}, "imagenet"),
    "dinov2": _Family(DINOV2, "dinov2.", _DINOV2, "imagenet"),
    "dinov2_with_registers": _Family(DINOV2_REGISTERS, "dinov2_with_registers.", _DINOV2, "imagenet"),
}


def recognises(source: Source) -> bool:
    return _model_type(source) in _FAMILIES


def read(source: Source) -> SourceLayout:
    """Sizes and table of a checkpoint.

    Raises:
        MedvqaError: a field of `config.json` is missing or means another model.
    """
    family, fields = _FAMILIES[_model_type(source)], Fields(source.config, str(source.path / CONFIG))
    names, prefix = family.names, family.prefix if source.has(family.prefix) else ""
    fields = fields.table("vision_config") if "vision_config" in fields else fields
    fields.demand(not fields.get("use_swiglu_ffn"), "use_swiglu_ffn is true; such an MLP is not supported")
    fields, width = fields.with_defaults(family.defaults), fields.positive("hidden_size", 768)
    layers, dinov2 = fields.positive("num_hidden_layers", 12), names.scales is not None
    fields.demand(
        source.has(f"{prefix}{names.layer}.{layers - 1}."), f"num_hidden_layers is {layers}; the weights have fewer"
    )
    first, registers = len(names.class_tokens), 0
    if names.registers:
        registers = fields.positive("num_register_tokens", 4)
        names = replace(names, hows={"positions": without_positions(first, registers)})
    config = VisionConfig(
        image_size=fields.positive("image_size", 224, most=MOST_PIXELS),
        patch_size=fields.positive("patch_size"),
        width=width,
        layers=layers - 1,
        heads=fields.heads("num_attention_heads", 12, width=width),
        mlp_width=width * fields.positive("mlp_ratio", 4) if dinov2 else fields.positive("intermediate_size", 3072),
        norm_epsilon=fields.epsilon("layer_norm_eps"),
        final_norm_epsilon=1e-5,
        activation=fields.one_of("hidden_act", ACTIVATIONS, "gelu"),
        qkv_bias=fields.flag("qkv_bias", True),
        patch_bias=names.first_norm is None,
        patch_norm=names.first_norm is not None,
        class_tokens=first + registers,
        antialias=registers > 0,
        statistics=statistics_of(source, family.statistics),
    )
    beside = tuple(
        dropped(name, "not part of the image encoder")
        for name in (
            "text_model.*",
            "*_projection.weight",
            "logit_scale",
            "logit_bias",
            "classifier.*",
            "*_classifier.*",
            "decoder.*",
        )
    )
    return SourceLayout(FolderConfig(vision=config), (*under(prefix, names.rules(layers)), *beside), NEW_NORM)


def _model_type(source: Source) -> str:
    return str((source.config or {}).get("model_type"))
