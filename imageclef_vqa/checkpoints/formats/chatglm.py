"""ChatGLM-6B from Hugging Face: `config.json` of `model_type` chatglm. Our names, PaddleNLP's, are the same."""

from __future__ import annotations

from imageclef_vqa.checkpoints.folder import CONFIG, FolderConfig
from imageclef_vqa.checkpoints.formats.fields import Fields
from imageclef_vqa.checkpoints.formats.rules import Rule, SourceLayout, copy, dropped, linear, norm, under
from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.models.configs import GLMConfig

_LAYER = "transformer.layers.#"
LANGUAGE = under(
    "",
    (
        Rule("transformer.word_embeddings.weight", "transformer.word_embeddings.weight"),
        copy("lm_head.weight", "transformer.word_embeddings.weight"),
        *norm(f"{_LAYER}.input_layernorm", f"{_LAYER}.input_layernorm"),
        *linear(f"{_LAYER}.attention.query_key_value", f"{_LAYER}.attention.query_key_value"),
        *linear(f"{_LAYER}.attention.dense", f"{_LAYER}.attention.dense"),
        dropped(f"{_LAYER}.attention.rotary_emb.inv_freq", "computed from the width of a head"),
        *norm(f"{_LAYER}.post_attention_layernorm", f"{_LAYER}.post_attention_layernorm"),
        *linear(f"{_LAYER}.mlp.dense_h_to_4h", f"{_LAYER}.mlp.dense_h_to_4h"),
        *linear(f"{_LAYER}.mlp.dense_4h_to_h", f"{_LAYER}.mlp.dense_4h_to_h"),
        *norm("transformer.final_layernorm", "transformer.final_layernorm"),
    ),
    "language.",
)


def recognises(source: Source) -> bool:
    return source.config is not None and source.config.get("model_type") == "chatglm"


def read(source: Source) -> SourceLayout:
    """Sizes and table of a checkpoint.

    Raises:
        MedvqaError: a field of `config.json` is missing or means another model (ChatGLM2, quantised weights).
    """
    return SourceLayout(FolderConfig(language=read_config(Fields(source.config, str(source.path / CONFIG)))), LANGUAGE)


def read_config(fields: Fields) -> GLMConfig:
    """Our sizes from ChatGLM-6B's `config.json`."""
    fields.demand("inner_hidden_size" in fields, "this is no ChatGLM-6B of the first generation (inner_hidden_size)")
    fields.demand(fields.get("position_encoding_2d", True) is True, "position_encoding_2d is not true")
    for name in ("quantization_bit", "pre_seq_len"):
        fields.demand(not fields.get(name), f"{name} is {fields.get(name)!r}; only plain weights can be read")
    width, vocabulary = fields.positive("hidden_size"), fields.positive("vocab_size", 150528)
    start, first_edition = fields.positive("bos_token_id", 150004), fields.get("gmask_token_id") is None
    # The first edition names neither [MASK] nor [gMASK]: `modeling_chatglm.py` has 150000 and 150001, of which it keeps
    # the distance to <sop> in every edition.
    gap, end = fields.positive("gmask_token_id", max(start - 3, 1)), fields.positive("eos_token_id", start + 1)
    fields.demand(max(start, gap, end) < vocabulary, f"vocab_size is {vocabulary}; special tokens are beyond it")
    return GLMConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_layers=fields.positive("num_layers"),
        num_attention_heads=fields.heads("num_attention_heads", width=width),
        inner_hidden_size=fields.positive("inner_hidden_size"),
        layernorm_epsilon=fields.epsilon("layernorm_epsilon", 1e-5),
        max_sequence_length=fields.positive("max_sequence_length", 2048),
        gmask_token_id=gap,
        bos_token_id=start,
        eos_token_id=end,
        answer_positions="next" if first_edition else "gap",
    )
