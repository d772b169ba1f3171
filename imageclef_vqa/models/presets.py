"""The model family as data: the sizes of each part, and the presets made of them. Light to import: no Paddle."""

from __future__ import annotations

from dataclasses import dataclass
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
    feed_forward_proj: str = "relu"
    tie_word_embeddings: bool = True
    dropout_rate: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A BLIP-2: its parts, and the folder with the weights that it starts from."""

    name: str
    vision: VisionConfig
    qformer: QFormerConfig
    language: T5Config
    weights: Path


TINY_WEIGHTS = Path(__file__).parent / "tiny"

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
    )
}


def find_preset(name: str) -> Preset:
    """The preset called `name`.

    Raises:
        UsageError: there is none; the message lists them.
    """
    if name not in PRESETS:
        raise UsageError(f"no preset is called {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]
