"""Vision Transformers from timm, CLIP's, SigLIP's and DINOv2's among them, without their last layer (see `vit.py`).

Sizes are read off the tensors. `config.json`, where there is one, names the architecture and the statistics of pixels.
"""

from __future__ import annotations

from dataclasses import replace

from imageclef_vqa.checkpoints.folder import CONFIG, FolderConfig
from imageclef_vqa.checkpoints.formats.fields import Fields
from imageclef_vqa.checkpoints.formats.rules import SourceLayout, match
from imageclef_vqa.checkpoints.formats.vit import AFTER, NEW_NORM, Names, statistics_of
from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.configs import PatchVisionConfig, VisionConfig

# The configs name no heads: the widths whose heads are not of 64 channels (Zhai et al. 2022, table 2).
_HEADS = {1152: 16, 1280: 16, 1408: 16, 1664: 16, 1792: 16}
TIMM = Names(
    stem="patch_embed.proj",
    class_token="cls_token",
    positions="pos_embed",
    layer="blocks",
    qkv=("attn.qkv",),
    out="attn.proj",
    mlp=("mlp.fc1", "mlp.fc2"),
    norms=("norm1", "norm2"),
    first_norm="norm_pre",
    dropped={"norm.*": AFTER, "fc_norm.*": AFTER, "attn_pool.*": AFTER, "head.*": AFTER},
)


def recognises(source: Source) -> bool:
    return source.has("blocks.0.attn.qkv.weight")


def read(source: Source) -> SourceLayout:
    """Sizes, as the tensors show them, and table.

    Raises:
        MedvqaError: tensors that show the sizes are missing, or `config.json` means another model.
    """
    found = [match(f"{TIMM.layer}.#.norm1.weight", name) for name in source.tensors]
    layers = 1 + max((number for numbers in found if numbers for number in numbers), default=-1)
    shapes = {}
    for name, dimensions in (("patch_embed.proj.weight", 4), ("pos_embed", 3), ("blocks.0.mlp.fc1.weight", 2)):
        tensor = source.tensors.get(name)
        if tensor is None or len(tensor.shape) != dimensions:
            raise MedvqaError(
                f"{source.path}: {name} is missing or has not {dimensions} dimensions; it shows the sizes"
            )
        shapes[name] = tensor.shape
    (width, _, patch, _), positions = shapes["patch_embed.proj.weight"], shapes["pos_embed"][1]
    fields = Fields(source.config or {}, str(source.path / CONFIG))
    arguments, scaled = fields.table("model_args", {}), source.has("blocks.0.ls1.gamma")
    pre_norm, class_token = source.has("norm_pre.weight"), source.has("cls_token")
    config = (VisionConfig if class_token else PatchVisionConfig)(
        image_size=round((positions - class_token) ** 0.5) * patch,
        patch_size=patch,
        width=width,
        layers=layers - 1,
        heads=arguments.heads("num_heads", _HEADS.get(width, max(width // 64, 1)), width=width),
        mlp_width=shapes["blocks.0.mlp.fc1.weight"][0],
        norm_epsilon=1e-5 if pre_norm else 1e-6,
        final_norm_epsilon=1e-5,
        activation="quick_gelu" if "quickgelu" in fields.text("architecture", "") else "gelu",
        qkv_bias=source.has("blocks.0.attn.qkv.bias"),
        patch_bias=source.has("patch_embed.proj.bias"),
        patch_norm=pre_norm,
        statistics=statistics_of(source, "inception"),
    )
    names = replace(
        TIMM,
        class_token=TIMM.class_token if class_token else None,
        scales=("ls1.gamma", "ls2.gamma") if scaled else None,
    )
    return SourceLayout(FolderConfig(vision=config), names.rules(layers), NEW_NORM)
