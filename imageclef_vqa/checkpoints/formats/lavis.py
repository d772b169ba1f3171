"""LAVIS's own BLIP-2 checkpoints (`.pth`): stage 1 and stage 2, EVA-CLIP's ViT-g/14 or CLIP's ViT-L/14.

What was frozen is not in them: put `eva_vit_g.pth` or `clip_vit_L.pth` beside `blip2_pretrained*.pth`, in one folder.
There is no `config.json`: sizes are read off the tensors; the rest is LAVIS's (`eva_vit.py`, `clip_vit.py`,
`blip2_models/blip2.py`).
"""

from __future__ import annotations

import re

import numpy as np

from imageclef_vqa.checkpoints.folder import FolderConfig
from imageclef_vqa.checkpoints.formats.hf_blip2 import ABSENT, qformer_layers
from imageclef_vqa.checkpoints.formats.rules import (
    Rule,
    SourceLayout,
    copy,
    dropped,
    lead,
    lead_twice,
    linear,
    norm,
    transpose,
)
from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.configs import QFormerConfig, VisionConfig

_HEAD = 64  # channels of a head with CLIP and BERT
_EVA_HEAD = 88
_LAST = "BLIP-2 reads what enters the last layer (LAVIS builds one layer fewer)"


def without_key(q: np.ndarray, v: np.ndarray) -> np.ndarray:
    """EVA's keys have no bias."""
    return np.concatenate([q, np.zeros_like(q), v])


def log_scale(temperature: np.ndarray) -> np.ndarray:
    """The similarity's temperature, which LAVIS divides by, as the logarithm of what we multiply with."""
    return np.asarray(-np.log(temperature), temperature.dtype).reshape([1])


def _eva(old: str) -> tuple[Rule, ...]:
    block, ours = f"{old}blocks.#", "vision.layers.#"
    return (
        Rule(f"{old}cls_token", "vision.class_token"),
        Rule(f"{old}pos_embed", "vision.positions"),
        *norm(f"{old}patch_embed.proj", "vision.stem"),
        *norm(f"{block}.norm1", f"{ours}.attention_norm"),
        Rule(f"{block}.attn.qkv.weight", f"{ours}.qkv.weight", transpose),
        Rule((f"{block}.attn.q_bias", f"{block}.attn.v_bias"), f"{ours}.qkv.bias", without_key),
        *linear(f"{block}.attn.proj", f"{ours}.attention_out"),
        *norm(f"{block}.norm2", f"{ours}.mlp_norm"),
        *linear(f"{block}.mlp.fc1", f"{ours}.mlp_in"),
        *linear(f"{block}.mlp.fc2", f"{ours}.mlp_out"),
    )


def _clip(old: str) -> tuple[Rule, ...]:
    block, ours = f"{old}transformer.resblocks.#", "vision.layers.#"
    return (
        Rule(f"{old}class_embedding", "vision.class_token", lead_twice),
        Rule(f"{old}positional_embedding", "vision.positions", lead),
        Rule(f"{old}conv1.weight", "vision.stem.weight"),
        *norm(f"{old}ln_pre", "vision.patch_norm"),
        *norm(f"{block}.ln_1", f"{ours}.attention_norm"),
        Rule(f"{block}.attn.in_proj_weight", f"{ours}.qkv.weight", transpose),
        Rule(f"{block}.attn.in_proj_bias", f"{ours}.qkv.bias"),
        *linear(f"{block}.attn.out_proj", f"{ours}.attention_out"),
        *norm(f"{block}.ln_2", f"{ours}.mlp_norm"),
        *linear(f"{block}.mlp.c_fc", f"{ours}.mlp_in"),
        *linear(f"{block}.mlp.c_proj", f"{ours}.mlp_out"),
    )


_BERT, _CLS = "Qformer.bert.embeddings", "Qformer.cls.predictions"
QFORMER = (
    *norm("ln_vision", "vision.norm"),
    Rule("query_tokens", "qformer.queries"),
    Rule(f"{_BERT}.word_embeddings.weight", "qformer.words.weight"),
    Rule(f"{_BERT}.position_embeddings.weight", "qformer.positions.weight"),
    dropped(f"{_BERT}.position_ids", "0, 1, 2, …"),
    *norm(f"{_BERT}.LayerNorm", "qformer.norm"),
    *qformer_layers("Qformer.bert.encoder.layer.#", "self", text=True),
    *linear("vision_proj", "heads.image_to_shared"),
    *linear("text_proj", "heads.text_to_shared"),
    *linear("itm_head", "heads.matching"),
    Rule("temp", "heads.log_scale", log_scale),
    *linear(f"{_CLS}.transform.dense", "heads.transform"),
    *norm(f"{_CLS}.transform.LayerNorm", "heads.transform_norm"),
    Rule(f"{_CLS}.bias", "heads.word_bias"),
    copy(f"{_CLS}.decoder.weight", f"{_BERT}.word_embeddings.weight"),
    copy(f"{_CLS}.decoder.bias", f"{_CLS}.bias"),
    *linear("t5_proj", "projection"),
    *linear("llm_proj", "projection"),
)


def recognises(source: Source) -> bool:
    return source.has("query_tokens") and source.has("Qformer.")


def read(source: Source) -> SourceLayout:
    """Sizes, as the tensors show them, and table.

    Raises:
        MedvqaError: the vision part is missing, or tensors that show the sizes are.
    """
    bare = "" if not source.has("visual_encoder.") else "visual_encoder."
    eva = source.has(f"{bare}blocks.")
    block = f"{bare}blocks." if eva else f"{bare}transformer.resblocks."
    if not source.has(block):
        raise MedvqaError(
            f"{source.path}: a checkpoint of LAVIS without its vision part, which was frozen and is not in it",
            remedy="put eva_vit_g.pth (ViT-L: clip_vit_L.pth) beside it, and convert the folder",
        )
    layers = _count(source, re.escape(block) + r"(\d+)\.")
    rules = (*(_eva(bare) if eva else _clip(bare)), *QFORMER)
    if layers == (40 if eva else 24):
        layers -= 1
        rules = (dropped(f"{block}{layers}.*", _LAST), *rules)
    extra = ("norm.*", "fc_norm.*", "head.*") if eva else ("ln_post.*", "ln_final.*", "proj")
    rules = (
        *rules,
        *(dropped(f"{bare}{name}", "follows the last layer, whose output BLIP-2 does not read") for name in extra),
    )
    text = source.has(f"{_BERT}.word_embeddings.weight")
    vision = _eva_config(source, bare, layers) if eva else _clip_config(source, bare, layers)
    projection = next((source.tensors[n].shape[0] for n in ("t5_proj.weight", "llm_proj.weight") if source.has(n)), 0)
    config = FolderConfig(
        vision=vision,
        qformer=_qformer(source, vision.width, text),
        heads=text and source.has("itm_head."),
        projection=projection,
    )
    return SourceLayout(config, rules, {} if text else ABSENT)


def _count(source: Source, pattern: str) -> int:
    """One more than the largest number in names that begin with `pattern`."""
    found = (re.match(pattern, name) for name in source.tensors)
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def _shape(source: Source, name: str, dimensions: int) -> tuple[int, ...]:
    tensor = source.tensors.get(name)
    if tensor is None or len(tensor.shape) != dimensions:
        raise MedvqaError(f"{source.path}: {name} is missing or has not {dimensions} dimensions; it shows the sizes")
    return tensor.shape


def _eva_config(source: Source, bare: str, layers: int) -> VisionConfig:
    width, _, patch, _ = _shape(source, f"{bare}patch_embed.proj.weight", 4)
    _, positions, _ = _shape(source, f"{bare}pos_embed", 3)
    return VisionConfig(
        image_size=round((positions - 1) ** 0.5) * patch,
        patch_size=patch,
        width=width,
        layers=layers,
        heads=max(width // _EVA_HEAD, 1),
        mlp_width=_shape(source, f"{bare}blocks.0.mlp.fc1.weight", 2)[0],
        norm_epsilon=1e-6,
        final_norm_epsilon=1e-5,
    )


def _clip_config(source: Source, bare: str, layers: int) -> VisionConfig:
    width, _, patch, _ = _shape(source, f"{bare}conv1.weight", 4)
    positions, _ = _shape(source, f"{bare}positional_embedding", 2)
    return VisionConfig(
        image_size=round((positions - 1) ** 0.5) * patch,
        patch_size=patch,
        width=width,
        layers=layers,
        heads=max(width // _HEAD, 1),
        mlp_width=_shape(source, f"{bare}transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
        norm_epsilon=1e-5,
        final_norm_epsilon=1e-5,
        activation="quick_gelu",
        patch_bias=False,
        patch_norm=True,
        align_corners=True,
    )


def _qformer(source: Source, vision_width: int, text: bool) -> QFormerConfig:
    _, queries, width = _shape(source, "query_tokens", 3)
    layer = r"Qformer\.bert\.encoder\.layer\.(\d+)\."
    looking = {int(m[1]) for name in source.tensors if (m := re.match(layer + "crossattention", name))} - {0}
    layers = _count(source, layer)
    return QFormerConfig(
        queries=queries,
        width=width,
        layers=layers,
        heads=max(width // _HEAD, 1),
        mlp_width=_shape(source, "Qformer.bert.encoder.layer.0.intermediate_query.dense.weight", 2)[0],
        vision_width=vision_width,
        cross_attention_every=min(looking, default=layers),
        vocabulary=_shape(source, f"{_BERT}.word_embeddings.weight", 2)[0] if text else QFormerConfig.vocabulary,
        positions=_shape(source, f"{_BERT}.position_embeddings.weight", 2)[0] if text else QFormerConfig.positions,
        shared_width=_shape(source, "vision_proj.weight", 2)[0] if source.has("vision_proj.weight") else 256,
    )
