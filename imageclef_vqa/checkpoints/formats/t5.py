"""T5 and Flan-T5 from Hugging Face: `config.json` of `model_type` t5, names of `T5ForConditionalGeneration`.

The embedding stands in a checkpoint once (transformers 5), or up to four times: for encoder, decoder and, where the
head is tied to it, for the head. Whether it is tied is seen in the tensors: transformers 5 writes
`tie_word_embeddings: true` for every T5, and says in `scale_decoder_outputs` what that once implied.
"""

from __future__ import annotations

from imageclef_vqa.checkpoints.folder import CONFIG, FolderConfig
from imageclef_vqa.checkpoints.formats.fields import Fields
from imageclef_vqa.checkpoints.formats.rules import Rule, SourceLayout, copy, transpose, under
from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.models.activations import ACTIVATIONS
from imageclef_vqa.models.configs import T5Config

HEAD, WORDS = "lm_head.weight", "shared.weight"


def recognises(source: Source) -> bool:
    return source.config is not None and source.config.get("model_type") == "t5"


def read(source: Source) -> SourceLayout:
    """Sizes and table of a checkpoint.

    Raises:
        MedvqaError: a field of `config.json` is missing or means a model that PaddleNLP's T5 is not.
    """
    sizes = read_config(Fields(source.config, str(source.path / CONFIG)), source)
    table = rules(tied=sizes.tie_word_embeddings)
    return SourceLayout(FolderConfig(language=sizes), under("", table, "language."))


def _is_tied(source: Source, prefix: str) -> bool:
    """Whether the head is tied to the embedding: it is missing, or equal to it."""
    head, words = (source.tensors.get(prefix + name) for name in (HEAD, WORDS))
    if head is None or words is None:
        return True
    return (head.dtype, head.shape) == (words.dtype, words.shape) and bool((head.bits() == words.bits()).all())


def rules(*, tied: bool) -> tuple[Rule, ...]:
    """The table; our names are PaddleNLP's."""
    block, attention = "block.#.layer.#", ("q", "k", "v", "o")
    return (
        Rule(WORDS, "t5.shared.weight"),
        copy("encoder.embed_tokens.weight", WORDS),
        copy("decoder.embed_tokens.weight", WORDS),
        copy(HEAD, WORDS) if tied else Rule(HEAD, HEAD, transpose),
        *(
            rule
            for side in ("encoder", "decoder")
            for rule in (
                *(
                    Rule(f"{side}.{block}.{kind}.{part}.weight", f"t5.{side}.{block}.{kind}.{part}.weight", transpose)
                    for kind, parts in (
                        ("SelfAttention", attention),
                        ("EncDecAttention", attention),
                        ("DenseReluDense", ("wi", "wi_0", "wi_1", "wo")),
                    )
                    for part in parts
                ),
                *(
                    Rule(f"{side}.{name}.weight", f"t5.{side}.{name}.weight")
                    for name in (
                        f"{block}.SelfAttention.relative_attention_bias",
                        f"{block}.layer_norm",
                        "final_layer_norm",
                    )
                ),
            )
        ),
        Rule(
            "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
            None,
            reason="T5's first code made it and never used it",
        ),
    )


def read_config(config: Fields, source: Source, prefix: str = "") -> T5Config:
    """Our sizes from T5's `config.json`; whether embeddings are tied, by the tensors, whose names begin with `prefix`.

    Raises:
        MedvqaError: a field is missing, of a wrong kind, or means a model that PaddleNLP's T5 is not.
    """
    layers = config.positive("num_layers")
    feed_forward = config.text("feed_forward_proj", "relu")
    # Fields of their own, as transformers saves them, count more than the name above.
    usual = "gelu_new" if feed_forward == "gated-gelu" else feed_forward.split("-")[-1]
    activation = config.text("dense_act_fn", usual)
    gated = config.flag("is_gated_act", feed_forward.startswith("gated-"))
    other = f"gated-{activation}" if gated else activation
    config.demand(activation in ACTIVATIONS, f"the activation is {activation!r}, not one of {', '.join(ACTIVATIONS)}")
    for name, value in (("pad_token_id", 0), ("eos_token_id", 1), ("decoder_start_token_id", 0)):
        config.demand(config.get(name, value) in (value, None), f"{name} is {config.get(name)!r}; T5's is {value}")
    tied_by_config = config.get("tie_word_embeddings", True) is not False
    head = prefix + HEAD
    config.demand(tied_by_config or source.has(head), f"tie_word_embeddings is false, but {head} is missing")
    return T5Config(
        vocab_size=config.positive("vocab_size"),
        d_model=config.positive("d_model"),
        d_kv=config.positive("d_kv"),
        d_ff=config.positive("d_ff"),
        num_layers=layers,
        num_decoder_layers=config.positive("num_decoder_layers", layers),
        num_heads=config.positive("num_heads"),
        feed_forward_proj=feed_forward if gated == feed_forward.startswith("gated-") else other,
        dense_act_fn=activation,
        tie_word_embeddings=_is_tied(source, prefix),
        scale_decoder_outputs=config.flag("scale_decoder_outputs", tied_by_config),
        dropout_rate=config.fraction("dropout_rate", 0.1),
        layer_norm_epsilon=config.fraction("layer_norm_epsilon", 1e-6),
        relative_attention_num_buckets=config.positive("relative_attention_num_buckets", 32),
        relative_attention_max_distance=config.positive("relative_attention_max_distance", 128),
    )
