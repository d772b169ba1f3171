"""Sizes of published encoders and language models that the presets combine."""

from __future__ import annotations

from imageclef_vqa.models.configs.t5 import T5Config
from imageclef_vqa.models.configs.vision import VisionConfig

# CLIP's ViT-L/14 (Radford et al. 2021, table 20) and EVA-CLIP's ViT-g/14, both without their last layer: BLIP-2 reads
# the input of that layer (section 3.4).
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
    align_corners=True,
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
    dense_act_fn="gelu",  # LAVIS, `Blip2T5`
    tie_word_embeddings=False,
)
