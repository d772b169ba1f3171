"""Vision Transformers by themselves from Hugging Face: `config.json` of `model_type` clip, siglip, vit or dinov2.

Their last layer is left out: BLIP-2 reads its input (section 3.4). What follows that layer is dropped, and the norm
that BLIP-2 puts there (LAVIS: `ln_vision`) starts as the identity. LayerScale (Touvron et al. 2021) is multiplied into
the layer before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from imageclef_vqa.checkpoints.folder import CONFIG, FolderConfig, read_json
from imageclef_vqa.checkpoints.formats.fields import MOST_PIXELS, Fields
from imageclef_vqa.checkpoints.formats.rules import (
    How,
    Rule,
    SourceLayout,
    dropped,
    keep,
    lead,
    lead_twice,
    linear,
    norm,
    under,
)
from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.checkpoints.stored import narrowed, widened
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.activations import ACTIVATIONS
from imageclef_vqa.models.configs import PatchVisionConfig, VisionConfig
from imageclef_vqa.models.configs.encoder import Statistics
from imageclef_vqa.models.encoder import STATISTICS

NEW_NORM = dict.fromkeys(
    ("vision.norm.weight", "vision.norm.bias"), "BLIP-2's own norm of the features, which starts as the identity"
)
_LAST = "BLIP-2 reads what enters the last layer"
AFTER = "follows the last layer, whose output BLIP-2 does not read"
_PREPROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True)
class Names:
    """The names of a family's tensors, without the number of a layer; a source may lack some."""

    stem: str
    class_token: str | None
    positions: str
    layer: str
    qkv: tuple[str, ...]  # one fused layer, or queries, keys and values
    out: str
    mlp: tuple[str, str]
    norms: tuple[str, str]
    scales: tuple[str, str] | None = None  # LayerScale's factors
    first_norm: str | None = None
    hows: Mapping[str, How] = field(default_factory=dict)  # of class token and positions, where they have no batch axis
    dropped: Mapping[str, str] = field(default_factory=dict)  # patterns → reasons

    def rules(self, layers: int) -> tuple[Rule, ...]:
        """The table of a source with this many layers."""
        layer, ours = f"{self.layer}.#", "vision.layers.#"
        first, second = self.scales or (None, None)
        return (
            dropped(f"{self.layer}.{layers - 1}.*", _LAST),
            *(
                [Rule(self.class_token, "vision.class_token", self.hows.get("class_token", keep))]
                if self.class_token
                else []
            ),
            Rule(self.positions, "vision.positions", self.hows.get("positions", keep)),
            *norm(self.stem, "vision.stem"),
            *(norm(self.first_norm, "vision.patch_norm") if self.first_norm else ()),
            *norm(f"{layer}.{self.norms[0]}", f"{ours}.attention_norm"),
            Rule(tuple(f"{layer}.{name}.weight" for name in self.qkv), f"{ours}.qkv.weight", _joined_weights),
            Rule(tuple(f"{layer}.{name}.bias" for name in self.qkv), f"{ours}.qkv.bias", _joined),
            *_scaled(f"{layer}.{self.out}", first and f"{layer}.{first}", f"{ours}.attention_out"),
            *norm(f"{layer}.{self.norms[1]}", f"{ours}.mlp_norm"),
            *_scaled(f"{layer}.{self.mlp[0]}", None, f"{ours}.mlp_in"),
            *_scaled(f"{layer}.{self.mlp[1]}", second and f"{layer}.{second}", f"{ours}.mlp_out"),
            *(dropped(name, reason) for name, reason in self.dropped.items()),
        )


def _joined(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts)


def _joined_weights(*parts: np.ndarray) -> np.ndarray:
    """[out, in] each → [in, all outs]."""
    return np.concatenate(parts).T


def _scaled(old: str, scale: str | None, new: str) -> tuple[Rule, ...]:
    """A linear layer; `scale` names a factor on each of its outputs."""
    if scale is None:
        return linear(old, new)
    return (
        Rule((f"{old}.weight", scale), f"{new}.weight", lambda weight, factor: _product(weight.T, factor)),
        Rule((f"{old}.bias", scale), f"{new}.bias", _product),
    )


def _product(x: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """x·factor in the type of x."""
    if x.dtype != np.uint16:
        return x * factor.astype(x.dtype)
    return narrowed(widened(x, "BF16") * widened(factor, "BF16"), "BF16")


_MASK = "only pretraining masks patches"
CLIP = Names(
    stem="embeddings.patch_embedding",
    class_token="embeddings.class_embedding",
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
    class_token=None,
    first_norm=None,
    hows={"positions": lead},
    dropped={**CLIP.dropped, "head.*": AFTER},
)
VIT = Names(
    stem="embeddings.patch_embeddings.projection",
    class_token="embeddings.cls_token",
    positions="embeddings.position_embeddings",
    layer="encoder.layer",
    qkv=tuple(f"attention.attention.{name}" for name in ("query", "key", "value")),
    out="attention.output.dense",
    mlp=("intermediate.dense", "output.dense"),
    norms=("layernorm_before", "layernorm_after"),
    dropped={"embeddings.mask_token": _MASK, "layernorm.*": AFTER, "pooler.*": AFTER},
)
DINOV2 = replace(
    VIT, mlp=("mlp.fc1", "mlp.fc2"), norms=("norm1", "norm2"), scales=("layer_scale1.lambda1", "layer_scale2.lambda1")
)


@dataclass(frozen=True)
class _Family:
    """A `model_type`: the prefix of its names, which may be missing, and what its config has by default."""

    names: Names
    prefix: str
    defaults: Mapping[str, object]
    statistics: str  # without a preprocessor's config


_CLIP = {"patch_size": 32, "layer_norm_eps": 1e-5, "hidden_act": "quick_gelu"}
_SIGLIP = {"patch_size": 16, "layer_norm_eps": 1e-6, "hidden_act": "gelu_pytorch_tanh"}
_FAMILIES = {
    "clip": _Family(CLIP, "vision_model.", _CLIP, "clip"),
    "clip_vision_model": _Family(CLIP, "vision_model.", _CLIP, "clip"),
    "siglip": _Family(SIGLIP, "vision_model.", _SIGLIP, "inception"),
    "siglip_vision_model": _Family(SIGLIP, "vision_model.", _SIGLIP, "inception"),
    "vit": _Family(VIT, "vit.", {"patch_size": 16, "layer_norm_eps": 1e-12}, "inception"),
    "dinov2": _Family(DINOV2, "dinov2.", {"patch_size": 14, "layer_norm_eps": 1e-6}, "imagenet"),
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
    config = (PatchVisionConfig if names.class_token is None else VisionConfig)(
        image_size=fields.positive("image_size", 224, most=MOST_PIXELS),
        patch_size=fields.positive("patch_size"),
        width=width,
        layers=layers - 1,
        heads=fields.heads("num_attention_heads", 12, width=width),
        mlp_width=width * fields.positive("mlp_ratio", 4) if dinov2 else fields.positive("intermediate_size", 3072),
        norm_epsilon=fields.fraction("layer_norm_eps"),
        final_norm_epsilon=1e-5,
        activation=fields.one_of("hidden_act", ACTIVATIONS, "gelu"),
        qkv_bias=fields.flag("qkv_bias", True),
        patch_bias=names.first_norm is None,
        patch_norm=names.first_norm is not None,
        statistics=statistics_of(source, family.statistics),
    )
    beside = tuple(
        dropped(name, "not part of the image encoder")
        for name in ("text_model.*", "*_projection.weight", "logit_scale", "logit_bias", "classifier.*")
    )
    return SourceLayout(FolderConfig(vision=config), (*under(prefix, names.rules(layers)), *beside), NEW_NORM)


def _model_type(source: Source) -> str:
    return str((source.config or {}).get("model_type"))


def statistics_of(source: Source, default: str) -> Statistics:
    """The name of the mean that the source's pixels are normalised with.

    Raises:
        MedvqaError: it is none of those that are known.
    """
    beside = source.path / _PREPROCESSOR
    mean = (source.config or {}).get("pretrained_cfg", {}).get("mean")
    if mean is None and beside.is_file():
        mean = Fields(read_json(beside), str(beside)).get("image_mean")
    for name, (known, _) in STATISTICS.items():
        if (mean is None and name == default) or (mean is not None and np.allclose(mean, known, atol=1e-3)):
            return name
    raise MedvqaError(f"{source.path}: pixels are normalised with mean {mean}; known are {', '.join(STATISTICS)}")
