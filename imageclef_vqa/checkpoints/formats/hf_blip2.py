"""BLIP-2 from Hugging Face: `config.json` of `model_type` blip-2, names of `Blip2ForConditionalGeneration` (with a T5)
and `Blip2ForImageTextRetrieval` (stage 1)."""

from __future__ import annotations

from imageclef_vqa.checkpoints.folder import CONFIG, FolderConfig
from imageclef_vqa.checkpoints.formats import t5
from imageclef_vqa.checkpoints.formats.fields import MOST_PIXELS, Fields
from imageclef_vqa.checkpoints.formats.rules import Rule, SourceLayout, dropped, linear, norm, under
from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.models.activations import ACTIVATIONS
from imageclef_vqa.models.configs import QFormerConfig, VisionConfig

_LAYER, _OURS = "vision_model.encoder.layers.#", "vision.layers.#"
VISION = (
    Rule("vision_model.embeddings.class_embedding", "vision.class_token"),
    Rule("vision_model.embeddings.position_embedding", "vision.positions"),
    *norm("vision_model.embeddings.patch_embedding", "vision.stem"),
    *norm(f"{_LAYER}.layer_norm1", f"{_OURS}.attention_norm"),
    *linear(f"{_LAYER}.self_attn.qkv", f"{_OURS}.qkv"),
    *linear(f"{_LAYER}.self_attn.projection", f"{_OURS}.attention_out"),
    *norm(f"{_LAYER}.layer_norm2", f"{_OURS}.mlp_norm"),
    *linear(f"{_LAYER}.mlp.fc1", f"{_OURS}.mlp_in"),
    *linear(f"{_LAYER}.mlp.fc2", f"{_OURS}.mlp_out"),
    *norm("vision_model.post_layernorm", "vision.norm"),
)


def qformer_layers(old: str, inner: str, *, text: bool) -> tuple[Rule, ...]:
    """The Q-Former's layers, which are BERT's with a second MLP.

    `old` is the name of a layer, `inner` that of queries, keys and values within an attention; without `text`, the
    source has no MLP for text.
    """
    new, branches = "qformer.layers.#", (("_query", "query_mlp"), ("", "text_mlp"))
    return (
        *(
            rule
            for theirs, ours in (("attention", "self_attention"), ("crossattention", "cross_attention"))
            for rule in (
                *linear(f"{old}.{theirs}.{inner}.query", f"{new}.{ours}.query"),
                *linear(f"{old}.{theirs}.{inner}.key", f"{new}.{ours}.key"),
                *linear(f"{old}.{theirs}.{inner}.value", f"{new}.{ours}.value"),
                *linear(f"{old}.{theirs}.output.dense", f"{new}.{ours}.out"),
                *norm(f"{old}.{theirs}.output.LayerNorm", f"{new}.{ours}.norm"),
            )
        ),
        *(
            rule
            for theirs, ours in branches[: 2 if text else 1]
            for rule in (
                *linear(f"{old}.intermediate{theirs}.dense", f"{new}.{ours}.widen"),
                *linear(f"{old}.output{theirs}.dense", f"{new}.{ours}.narrow"),
                *norm(f"{old}.output{theirs}.LayerNorm", f"{new}.{ours}.norm"),
            )
        ),
    )


_NO_TEXT = "a checkpoint of stage 2, whose Q-Former no longer reads text"
_NO_WRITING = "transformers leaves out what only the training of stage 1 needs"
ABSENT = {
    "qformer.words.weight": _NO_TEXT,
    "qformer.positions.weight": _NO_TEXT,
    **{
        f"qformer.layers.#.text_mlp.{layer}.{kind}": _NO_TEXT
        for layer in ("widen", "narrow", "norm")
        for kind in ("weight", "bias")
    },
}
ABSENT_HEADS = {
    f"heads.{name}": _NO_WRITING
    for name in (
        "log_scale",
        "transform.weight",
        "transform.bias",
        "transform_norm.weight",
        "transform_norm.bias",
        "word_bias",
    )
}


def recognises(source: Source) -> bool:
    return source.config is not None and source.config.get("model_type") in ("blip-2", "blip_2")


def read(source: Source) -> SourceLayout:
    """Sizes and table of a checkpoint.

    Raises:
        MedvqaError: a field of `config.json` is missing or means a model that this BLIP-2 is not.
    """
    fields = Fields(source.config, str(source.path / CONFIG))
    retrieval = source.has("itm_head.", "vision_projection.", "text_projection.")
    words = source.has("embeddings.word_embeddings.weight")
    vision, qformer = _vision(fields.table("vision_config")), _qformer(fields, words=words)
    text = retrieval or fields.table("qformer_config").flag("use_qformer_text_input", False)
    shared = (
        *VISION,
        Rule("query_tokens", "qformer.queries"),
        *norm("qformer.layernorm", "qformer.norm"),
        *qformer_layers("qformer.encoder.layer.#", "attention", text=text),
        dropped("embeddings.position_ids", "0, 1, 2, …"),
    )
    if retrieval:
        return SourceLayout(
            FolderConfig(vision=vision, qformer=qformer, heads=True), (*shared, *_RETRIEVAL), ABSENT_HEADS
        )
    language = fields.table("text_config")
    language.demand(
        language.get("model_type") == "t5",
        f"model_type is {language.get('model_type')!r}; only t5 is supported",
    )
    sizes = t5.read_config(language, source, "language_model.")
    return SourceLayout(
        FolderConfig(vision=vision, qformer=qformer, language=sizes, projection=sizes.width),
        (
            *shared,
            *linear("language_projection", "projection"),
            *under("language_model.", t5.rules(tied=sizes.tie_word_embeddings), "language."),
        ),
        {name: reason for name, reason in ABSENT.items() if not (text and ".text_mlp." in name)},
    )


def _vision(fields: Fields) -> VisionConfig:
    epsilon, width = fields.epsilon("layer_norm_eps", 1e-6), fields.positive("hidden_size", 1408)
    return VisionConfig(
        image_size=fields.positive("image_size", 224, most=MOST_PIXELS),
        patch_size=fields.positive("patch_size", 14),
        width=width,
        layers=fields.positive("num_hidden_layers", 39),
        heads=fields.heads("num_attention_heads", 16, width=width),
        mlp_width=fields.positive("intermediate_size", 6144),
        norm_epsilon=epsilon,
        final_norm_epsilon=epsilon,
        activation=fields.one_of("hidden_act", ACTIVATIONS, "gelu"),
        qkv_bias=fields.flag("qkv_bias", True),
    )


def _qformer(fields: Fields, *, words: bool) -> QFormerConfig:
    """Sizes; those of the text branch only where the checkpoint has its `words`: without them they mean nothing."""
    own = fields.table("qformer_config")
    width = own.positive("hidden_size", 768)
    return QFormerConfig(
        queries=fields.positive("num_query_tokens", 32),
        width=width,
        layers=own.positive("num_hidden_layers", 12),
        heads=own.heads("num_attention_heads", 12, width=width),
        mlp_width=own.positive("intermediate_size", 3072),
        vision_width=fields.table("vision_config").positive("hidden_size", 1408),
        cross_attention_every=own.positive("cross_attention_frequency", 2),
        vocabulary=own.positive("vocab_size", 30522) if words else QFormerConfig.vocabulary,
        positions=own.positive("max_position_embeddings", 512) if words else QFormerConfig.positions,
        norm_epsilon=own.epsilon("layer_norm_eps", 1e-12),
        activation=own.one_of("hidden_act", ACTIVATIONS, "gelu"),
        dropout=own.fraction("hidden_dropout_prob", 0.1),
        attention_dropout=own.fraction("attention_probs_dropout_prob", 0.1),
        shared_width=fields.positive("image_text_hidden_size", 256),
    )


_RETRIEVAL = (
    Rule("embeddings.word_embeddings.weight", "qformer.words.weight"),
    Rule("embeddings.position_embeddings.weight", "qformer.positions.weight"),
    *linear("vision_projection", "heads.image_to_shared"),
    *linear("text_projection", "heads.text_to_shared"),
    *linear("itm_head", "heads.matching"),
)
