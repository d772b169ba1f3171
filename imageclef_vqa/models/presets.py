"""The model family as data: the sizes of each part, and the presets made of them. Light to import: no Paddle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from imageclef_vqa.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """Sizes of the Vision Transformer (Dosovitskiy et al. 2021, table 1; EVA-CLIP for the names)."""

    image_size: int
    patch_size: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    norm_epsilon: float = 1e-6
    final_norm_epsilon: float = 1e-6  # LAVIS's own norm over the patches (`ln_vision`) has 1e-5
    activation: str = "gelu"  # EVA-CLIP; CLIP has "quick_gelu"
    qkv_bias: bool = True
    patch_bias: bool = True  # CLIP has none
    patch_norm: bool = False  # CLIP norms what enters the first layer
    drop_path: float = 0.0  # stochastic depth in the last layer, rising linearly to it (Huang et al. 2016)
    recompute: bool = False  # a layer's activations are made again in the backward pass, in place of being kept
    # "convolutional": strided 3 × 3 convolutions in place of one large one, which small data need (Xiao et al. 2021).
    stem: Literal["linear", "convolutional"] = "linear"

    @property
    def patches(self) -> int:
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True, kw_only=True)
class QFormerConfig:
    """Sizes of the Querying Transformer (BLIP-2, section 3.1)."""

    queries: int = 32
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_width: int = 3072
    vision_width: int = 1408
    cross_attention_every: int = 2  # layers 0, 2, 4, … look at the image
    vocabulary: int = 30523  # BERT's, and one token that asks for text
    positions: int = 512
    norm_epsilon: float = 1e-12
    activation: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.1
    shared_width: int = 256  # of the space in which stage 1 compares image and text
    text: Literal["wordpiece", "language"] = "wordpiece"  # whose tokens stage 1 reads: BERT's, or the language model's


@dataclass(frozen=True, kw_only=True)
class T5Config:
    """Sizes of a T5 (Raffel et al. 2020, section 3.1.1), under the names of its `config.json`."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_decoder_layers: int
    num_heads: int
    feed_forward_proj: Literal["relu", "gated-gelu", "gated-silu"] = "relu"
    tie_word_embeddings: bool = True
    scale_decoder_outputs: bool | None = None  # by 1/√d_model, before the head; None: if embeddings are tied
    dropout_rate: float = 0.1
    layer_norm_epsilon: float = 1e-6
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128

    @property
    def width(self) -> int:
        return self.d_model

    @property
    def scales(self) -> bool:
        """Whether the decoder's states are scaled before the head (Mesh TensorFlow's convention)."""
        return self.tie_word_embeddings if self.scale_decoder_outputs is None else self.scale_decoder_outputs


@dataclass(frozen=True, kw_only=True)
class GLMConfig:
    """Sizes of a GLM with 2-D positions (Du et al. 2022, section 2), under the names of ChatGLM-6B's `config.json`."""

    vocab_size: int = 130528
    hidden_size: int = 4096
    num_layers: int = 28
    num_attention_heads: int = 32
    inner_hidden_size: int = 16384
    layernorm_epsilon: float = 1e-5
    max_sequence_length: int = 2048
    gmask_token_id: int = 130001  # the place that is to be filled
    bos_token_id: int = 130004  # <sop>, which starts what fills it
    eos_token_id: int = 130005  # <eop>, which ends it

    @property
    def width(self) -> int:
        return self.hidden_size


LanguageConfig = T5Config | GLMConfig


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A BLIP-2: its parts, and the folder with the weights that it starts from, if they come with the package."""

    name: str
    vision: VisionConfig
    qformer: QFormerConfig
    language: LanguageConfig
    weights: Path | None = None
    # Where the weights are to be had, for those who have to fetch them: names on the Hugging Face hub.
    sources: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder with the weights.

        Raises:
            UsageError: they do not come with the package, and none was named.
        """
        if self.weights is None:
            raise UsageError(
                f"preset {self.name} comes without weights: name their folder with --weights",
                remedy=f"`medvqa weights convert` makes it from {' and '.join(self.sources)} (Hugging Face hub)",
            )
        return self.weights


TINY_WEIGHTS = Path(__file__).parent / "tiny"

# CLIP's ViT-L/14 (Radford et al. 2021, table 20) and EVA-CLIP's ViT-g/14, both without their last layer, whose input is
# what BLIP-2 reads (section 3.4).
VIT_L = VisionConfig(
    image_size=224,
    patch_size=14,
    width=1024,
    layers=23,
    heads=16,
    mlp_width=4096,
    norm_epsilon=1e-5,
    final_norm_epsilon=1e-5,
    activation="quick_gelu",
    patch_bias=False,
    patch_norm=True,
)
VIT_G = VisionConfig(
    image_size=224, patch_size=14, width=1408, layers=39, heads=16, mlp_width=6144, final_norm_epsilon=1e-5
)

# Raffel et al. 2020, section 3.1.2; Flan-T5-XL, which the paper's section 3.3 calls FlanT5-3B (Chung et al. 2022).
T5_BASE = T5Config(
    vocab_size=32128, d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_decoder_layers=12, num_heads=12
)
T5_3B = T5Config(
    vocab_size=32128,
    d_model=2048,
    d_kv=64,
    d_ff=5120,
    num_layers=24,
    num_decoder_layers=24,
    num_heads=32,
    feed_forward_proj="gated-gelu",
    tie_word_embeddings=False,
)

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="tiny",
            vision=VisionConfig(
                image_size=128, patch_size=16, width=128, layers=3, heads=4, mlp_width=256, stem="convolutional"
            ),
            qformer=QFormerConfig(
                queries=20,
                width=128,
                layers=4,
                heads=4,
                mlp_width=256,
                vision_width=128,
                vocabulary=384,
                positions=64,
                norm_epsilon=1e-6,
                dropout=0.1,
                attention_dropout=0.0,
                shared_width=64,
                text="language",
            ),
            language=T5Config(
                vocab_size=384,
                d_model=128,
                d_kv=32,
                d_ff=256,
                num_layers=2,
                num_decoder_layers=2,
                num_heads=4,
                dropout_rate=0.0,
            ),
            weights=TINY_WEIGHTS,
        ),
        # The paper's table 2; each row with vision frozen (its asterisk) or trained.
        Preset(
            name="vit-l-t5-base",
            vision=VIT_L,
            qformer=QFormerConfig(vision_width=1024),
            language=T5_BASE,
            sources=("openai/clip-vit-large-patch14", "google-t5/t5-base"),
        ),
        Preset(
            name="vit-g-t5-base",
            vision=VIT_G,
            qformer=QFormerConfig(),
            language=T5_BASE,
            sources=("Salesforce/blip2-flan-t5-xl", "google-t5/t5-base"),
        ),
        Preset(
            name="vit-g-t5-3b",
            vision=VIT_G,
            qformer=QFormerConfig(),
            language=T5_3B,
            sources=("Salesforce/blip2-flan-t5-xl",),
        ),
        Preset(
            name="vit-g-glm-6b",
            vision=VIT_G,
            qformer=QFormerConfig(),
            language=GLMConfig(),
            sources=("Salesforce/blip2-flan-t5-xl", "THUDM/chatglm-6b"),
        ),
    )
}


def find_preset(name: str, weights: Path | None = None) -> Preset:
    """The preset called `name`, starting from the folder `weights` where one is given.

    Raises:
        UsageError: there is none; the message lists them.
    """
    if name not in PRESETS:
        raise UsageError(f"no preset is called {name!r}; there are: {', '.join(PRESETS)}")
    return replace(PRESETS[name], weights=weights or PRESETS[name].weights)
