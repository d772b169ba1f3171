"""A BLIP-2 from Hugging Face transformers in the sizes of a preset, with random weights."""

from __future__ import annotations

from typing import Any

from imageclef_vqa.models.configs import T5Config
from imageclef_vqa.models.presets import Preset


def random_blip2(preset: Preset) -> Any:
    """`Blip2ForConditionalGeneration`; its text has one more token, which stands for a visual one in a prompt."""
    import torch
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2QFormerConfig, Blip2VisionConfig
    from transformers import T5Config as TextConfig

    torch.manual_seed(0)
    vision, qformer, language = preset.vision, preset.qformer, preset.language
    assert isinstance(language, T5Config)
    sizes_of_vision = Blip2VisionConfig(
        hidden_size=vision.width,
        intermediate_size=vision.mlp_width,
        num_hidden_layers=vision.layers,
        num_attention_heads=vision.heads,
        image_size=vision.image_size,
        patch_size=vision.patch_size,
    )
    sizes_of_qformer = Blip2QFormerConfig(
        hidden_size=qformer.width,
        num_hidden_layers=qformer.layers,
        num_attention_heads=qformer.heads,
        intermediate_size=qformer.mlp_width,
        encoder_hidden_size=vision.width,
        cross_attention_frequency=qformer.cross_attention_every,
    )
    sizes_of_language = TextConfig(
        vocab_size=language.vocab_size + 1,
        d_model=language.d_model,
        d_kv=language.d_kv,
        d_ff=language.d_ff,
        num_layers=language.num_layers,
        num_decoder_layers=language.num_decoder_layers,
        num_heads=language.num_heads,
        decoder_start_token_id=0,
    )
    config = Blip2Config(
        vision_config=sizes_of_vision.to_dict(),
        qformer_config=sizes_of_qformer.to_dict(),
        text_config=sizes_of_language.to_dict(),
        num_query_tokens=qformer.queries,
        image_token_index=language.vocab_size,
    )
    return Blip2ForConditionalGeneration(config)
