"""Sizes of models for tests, so small that a forward pass takes no time."""

from imageclef_vqa.models.configs import GLMConfig

GLM = GLMConfig(
    vocab_size=90,
    hidden_size=24,
    num_layers=2,
    num_attention_heads=3,
    inner_hidden_size=33,
    gmask_token_id=81,
    bos_token_id=84,
    eos_token_id=85,
)
