"""Vision Transformers from timm, CLIP's, SigLIP's and DINOv2's among them, without their last layer.

DINO, DINOv2, MAE, EndoViT and GastroNet name their tensors in the same way. Sizes are read off the tensors.
`config.json`, where there is one, names the architecture, its arguments and the statistics of pixels.
"""

from __future__ import annotations

import re
from dataclasses import replace
from math import isqrt

from imageclef_vqa.checkpoints.folder import CONFIG, FolderConfig
from imageclef_vqa.checkpoints.formats.encoder_names import AFTER, MASK, NEW_NORM, Names, without_positions
from imageclef_vqa.checkpoints.formats.fields import Fields
from imageclef_vqa.checkpoints.formats.pixels import statistics_of
from imageclef_vqa.checkpoints.formats.rules import SourceLayout, dropped, match, under
from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.activations import ACTIVATIONS
from imageclef_vqa.models.configs import VisionConfig

# Heads have 64 channels, but at these widths (Zhai et al. 2022, table 2); narrower models than published need a config.
_HEADS = {1152: 16, 1280: 16, 1408: 16, 1664: 16, 1792: 16}
_NARROWEST = 192
# Architectures whose activation is not the exact GELU (timm 1.0, `vision_transformer.py`).
_ARCHITECTURES = {
    r"quickgelu": "quick_gelu",
    r"(base_patch32|so400m_patch16|giantopt_patch16)_siglip|large_patch16_siglip_(gap_)?512": "gelu_tanh",
}
# Arguments of `create_model` that the tensors show, that are read below, or that change no feature.
_ARGUMENTS = re.compile(
    r"img_size|patch_size|in_chans|num_classes|embed_dim|depth|mlp_ratio|qkv_bias|init_values|class_token|reg_tokens|"
    r"pre_norm|num_heads|act_layer|no_embed_class|global_pool|fc_norm|final_norm|weight_init|fix_init|dynamic_img_\w+|"
    r"strict_img_size|.*drop.*"
)
# What tensors of these names belong to.
_UNSUPPORTED = {
    "blocks.0.attn.q_norm.weight": "norms of queries and keys",
    "blocks.0.attn.q_bias": "attention of EVA or BEiT",
    "blocks.0.attn.rel_pos_h": "relative positions",
    "blocks.0.attn.rel_pos.": "relative positions",
    "blocks.0.mlp.w12.weight": "a SwiGLU",
    "blocks.0.mlp.fc1_g.weight": "a SwiGLU",
    "patch_embed.backbone.": "a convolutional stem",
}
_PREFIXES = ("", "backbone.")
TIMM = Names(
    stem="patch_embed.proj",
    class_tokens=("cls_token", "dist_token"),
    positions="pos_embed",
    layer="blocks",
    qkv=("attn.qkv",),
    out="attn.proj",
    mlp=("mlp.fc1", "mlp.fc2"),
    norms=("norm1", "norm2"),
    first_norm="norm_pre",
    dropped={
        **dict.fromkeys(("norm.*", "fc_norm.*", "attn_pool.*", "head.*", "head_dist.*"), AFTER),
        **dict.fromkeys(("mask_token", "decoder_*"), MASK),
    },
)
_HEADS_OF_DINO = tuple(dropped(name, AFTER) for name in ("head.*", "dino_head.*", "ibot_head.*"))


def recognises(source: Source) -> bool:
    return any(source.has(f"{prefix}blocks.0.attn.qkv.weight") for prefix in _PREFIXES)


def read(source: Source) -> SourceLayout:
    """Sizes, as the tensors show them, and table.

    Raises:
        MedvqaError: tensors that show the sizes are missing, or tensors or `config.json` mean another model.
    """
    prefix = next(each for each in _PREFIXES if source.has(f"{each}blocks.0.attn.qkv.weight"))
    bare = {name.removeprefix(prefix): tensor for name, tensor in source.tensors.items() if name.startswith(prefix)}
    config, names = _sizes(replace(source, tensors=bare))
    heads = _HEADS_OF_DINO if prefix else ()
    rules = (*under(prefix, names.rules(config.layers + 1)), *heads)
    return SourceLayout(FolderConfig(vision=config), rules, NEW_NORM)


def _sizes(source: Source) -> tuple[VisionConfig, Names]:
    fields = Fields(source.config or {}, str(source.path / CONFIG))
    arguments, architecture = fields.table("model_args", {}), fields.text("architecture", "")
    _refuse_others(source, arguments, architecture)
    width, _, patch, _ = _shape(source, "patch_embed.proj.weight", 4)
    positions = _shape(source, "pos_embed", 3)[1]
    names, tokens = _names(source)
    embedded = _embedded(source, names, tokens, positions, absent=arguments.flag("no_embed_class", False))
    if tokens > embedded:
        names = replace(names, hows={"positions": without_positions(embedded, tokens - embedded)})
    activation = next((name for part, name in _ARCHITECTURES.items() if re.search(part, architecture)), "gelu")
    numbers = [match(f"{TIMM.layer}.#.norm1.weight", name) for name in source.tensors]
    pre_norm = names.first_norm is not None
    layers = max((number for each in numbers if each for number in each), default=0)
    shown = {"embed_dim": width, "depth": layers + 1, "patch_size": patch}
    for name, value in shown.items():
        given = arguments.get(name, value)
        arguments.demand(given == value, f"{name} is {given!r}; the tensors have {value}")
    config = VisionConfig(
        image_size=isqrt(positions - embedded) * patch,
        patch_size=patch,
        width=width,
        layers=layers,
        heads=_heads(source, arguments, width),
        mlp_width=_shape(source, "blocks.0.mlp.fc1.weight", 2)[0],
        norm_epsilon=1e-5 if pre_norm else 1e-6,
        final_norm_epsilon=1e-5,
        activation=arguments.one_of("act_layer", ACTIVATIONS, activation),
        qkv_bias=source.has("blocks.0.attn.qkv.bias"),
        patch_bias=source.has("patch_embed.proj.bias"),
        patch_norm=pre_norm,
        class_tokens=tokens,
        antialias=True,
        # Files of DINO, MAE and DeiT, which take ImageNet's, have no config.
        statistics=statistics_of(source, "inception" if architecture else "imagenet"),
    )
    return config, names


def _refuse_others(source: Source, arguments: Fields, architecture: str) -> None:
    """Complain of a model that has other layers, or the same ones in another order."""
    found = [what for name, what in _UNSUPPORTED.items() if source.has(name)]
    found += ["norms after attention and MLP"] * ("_rpn_" in architecture)
    found += [f"{name} in model_args" for name in arguments.names if not _ARGUMENTS.fullmatch(name)]
    if not found and _shape(source, "blocks.0.mlp.fc1.weight", 2)[::-1] != _shape(source, "blocks.0.mlp.fc2.weight", 2):
        found = ["a gated MLP, such as a SwiGLU,"]
    if found:
        raise MedvqaError(f"{source.path}: a Vision Transformer with {found[0]} is not supported")


def _heads(source: Source, arguments: Fields, width: int) -> int:
    """The heads of an attention, which no tensor shows."""
    usual = _HEADS.get(width, width // 64 if width >= _NARROWEST and width % 64 == 0 else None)
    if usual is None and "num_heads" not in arguments:
        raise MedvqaError(
            f"{source.path}: a width of {width} does not tell how many heads an attention has",
            remedy=f'write {{"model_args": {{"num_heads": …}}}} into a {CONFIG} beside the weights',
        )
    return arguments.heads("num_heads", usual, width=width)


def _shape(source: Source, name: str, dimensions: int) -> tuple[int, ...]:
    tensor = source.tensors.get(name)
    if tensor is None or len(tensor.shape) != dimensions:
        raise MedvqaError(f"{source.path}: {name} is missing or has not {dimensions} dimensions; it shows the sizes")
    return tensor.shape


def _names(source: Source) -> tuple[Names, int]:
    """The names of the tensors that a source has, and its number of tokens before the patches."""
    registers = next((name for name in ("reg_token", "register_tokens") if source.has(name)), None)
    class_tokens = tuple(name for name in TIMM.class_tokens if source.has(name))
    names = replace(
        TIMM,
        class_tokens=class_tokens,
        registers=registers,
        first_norm=TIMM.first_norm if source.has("norm_pre.weight") else None,
        scales=("ls1.gamma", "ls2.gamma") if source.has("blocks.0.ls1.gamma") else None,
    )
    return names, len(class_tokens) + (_shape(source, registers, 3)[1] if registers else 0)


def _embedded(source: Source, names: Names, tokens: int, positions: int, *, absent: bool) -> int:
    """How many of the tokens before the patches have positions: those of patches are a square.

    In timm, `no_embed_class`, as most models with registers have it, says none; in DINOv2's own files, all but the
    registers have one.
    """
    likely = (0,) if absent else (tokens, 0) if names.registers is None else (0, tokens)
    for number in (len(names.class_tokens),) if names.registers == "register_tokens" else likely:
        if positions > number and isqrt(positions - number) ** 2 == positions - number:
            return number
    raise MedvqaError(f"{source.path}: pos_embed has {positions} positions, which are no square of patches")
