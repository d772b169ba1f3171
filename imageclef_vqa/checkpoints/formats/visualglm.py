"""VisualGLM-6B from Hugging Face: ChatGLM-6B with EVA-CLIP's ViT-g/14 and a Q-Former, already trained together.

Vision and Q-Former are written as layers of SwissArmyTransformer: a Q-Former's layer begins with the norm that, with
BERT, ends the one before it. So the first of these norms belongs to the queries, and there is a final one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from imageclef_vqa.checkpoints.folder import CONFIG, FolderConfig
from imageclef_vqa.checkpoints.formats import chatglm
from imageclef_vqa.checkpoints.formats.fields import MOST_PIXELS, Fields
from imageclef_vqa.checkpoints.formats.hf_blip2 import ABSENT
from imageclef_vqa.checkpoints.formats.rules import How, Rule, SourceLayout, dropped, lead, linear, norm
from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.models.configs import QFormerConfig, VisionConfig

# Of a question in Chinese or English (`build_inputs_with_image`).
PROMPT = "<img>{image}</img>问：{}\n答："
_VIT, _QFORMER = "image_encoder.vit", "image_encoder.qformer.transformer"
_EVA = {"num_layers": 39, "hidden_size": 1408, "num_attention_heads": 16, "inner_hidden_size": 6144, "patch_size": 14}
_BERT = {"num_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "vocab_size": 32}


def part(number: int, of: int, *, weight: bool) -> How:
    """The part of this number of a fused layer's outputs."""

    def cut(x: np.ndarray) -> np.ndarray:
        size = x.shape[0] // of
        piece = x[number * size : (number + 1) * size]
        return piece.T if weight else piece

    return cut


def _split(old: str, new: str, names: tuple[str, ...]) -> tuple[Rule, ...]:
    """A fused linear layer taken apart."""
    return tuple(
        Rule(f"{old}.{kind}", f"{new}.{name}.{kind}", part(number, len(names), weight=kind == "weight"))
        for number, name in enumerate(names)
        for kind in ("weight", "bias")
    )


_LAYER, _OURS = f"{_VIT}.transformer.layers.#", "vision.layers.#"
VISION = (
    Rule(f"{_VIT}.transformer.word_embeddings.weight", "vision.class_token", lead),
    Rule(f"{_VIT}.transformer.position_embeddings.weight", "vision.positions", lead),
    *norm(f"{_VIT}.mixins.patch_embedding.proj", "vision.stem"),
    *norm(f"{_LAYER}.input_layernorm", f"{_OURS}.attention_norm"),
    *linear(f"{_LAYER}.attention.query_key_value", f"{_OURS}.qkv"),
    *linear(f"{_LAYER}.attention.dense", f"{_OURS}.attention_out"),
    *norm(f"{_LAYER}.post_attention_layernorm", f"{_OURS}.mlp_norm"),
    *linear(f"{_LAYER}.mlp.dense_h_to_4h", f"{_OURS}.mlp_in"),
    *linear(f"{_LAYER}.mlp.dense_4h_to_h", f"{_OURS}.mlp_out"),
    *norm(f"{_VIT}.mixins.cls.ln_vision", "vision.norm"),
)


def qformer(layers: int) -> tuple[Rule, ...]:
    """The table of the Q-Former, whose norms depend on which layer is the last."""
    old, new = f"{_QFORMER}.layers.#", "qformer.layers.#"
    return (
        Rule(f"{_QFORMER}.word_embeddings.weight", "qformer.queries", lead),
        *norm(f"{_QFORMER}.layers.0.input_layernorm", "qformer.norm"),
        *(
            rule
            for number in range(1, layers)
            for rule in norm(
                f"{_QFORMER}.layers.{number}.input_layernorm", f"qformer.layers.{number - 1}.query_mlp.norm"
            )
        ),
        *norm(f"{_QFORMER}.final_layernorm", f"qformer.layers.{layers - 1}.query_mlp.norm"),
        *_split(f"{old}.attention.query_key_value", f"{new}.self_attention", ("query", "key", "value")),
        *linear(f"{old}.attention.dense", f"{new}.self_attention.out"),
        *norm(f"{old}.post_attention_layernorm", f"{new}.self_attention.norm"),
        *linear(f"{old}.cross_attention.query", f"{new}.cross_attention.query"),
        *_split(f"{old}.cross_attention.key_value", f"{new}.cross_attention", ("key", "value")),
        *linear(f"{old}.cross_attention.dense", f"{new}.cross_attention.out"),
        *norm(f"{old}.post_cross_attention_layernorm", f"{new}.cross_attention.norm"),
        *linear(f"{old}.mlp.dense_h_to_4h", f"{new}.query_mlp.widen"),
        *linear(f"{old}.mlp.dense_4h_to_h", f"{new}.query_mlp.narrow"),
    )


def recognises(source: Source) -> bool:
    return chatglm.recognises(source) and source.has("image_encoder.")


def read(source: Source) -> SourceLayout:
    """Sizes and table of a checkpoint.

    Raises:
        MedvqaError: a field of `config.json` is missing or means another model.
    """
    fields = Fields(source.config, str(source.path / CONFIG))
    eva, bert = (
        fields.table(f"{part}_config" if f"{part}_config" in fields else f"{part}_args", defaults)
        for part, defaults in (("eva", _EVA), ("qformer", _BERT))
    )
    language = replace(chatglm.read_config(fields), prompt=PROMPT)
    size = eva.get("image_size", [224, 224])
    square = isinstance(size, list) and len(size) == 2 and type(size[0]) is int and size[0] == size[1]
    eva.demand(square and 0 < size[0] <= MOST_PIXELS, f"image_size is {size!r}, no square of pixels")
    vision = VisionConfig(
        image_size=size[0],
        patch_size=eva.positive("patch_size"),
        width=eva.positive("hidden_size"),
        layers=eva.positive("num_layers"),
        heads=eva.heads("num_attention_heads", width=eva.positive("hidden_size")),
        mlp_width=eva.positive("inner_hidden_size"),
        norm_epsilon=eva.epsilon("layernorm_epsilon", 1e-5),
        final_norm_epsilon=1e-5,
    )
    reader = QFormerConfig(
        queries=bert.positive("vocab_size"),
        width=bert.positive("hidden_size"),
        layers=bert.positive("num_layers"),
        heads=bert.heads("num_attention_heads", width=bert.positive("hidden_size")),
        mlp_width=bert.positive("inner_hidden_size", 4 * bert.positive("hidden_size")),
        vision_width=vision.width,
        cross_attention_every=_cross_attention_every(bert),
        norm_epsilon=bert.epsilon("layernorm_epsilon", 1e-5),
    )
    for table, order in ((eva, "pre"), (bert, "post")):
        table.demand(table.get("layernorm_order", order) == order, f"layernorm_order is not {order!r}")
    config = FolderConfig(vision=vision, qformer=reader, language=language, projection=language.width)
    rules = (*VISION, *qformer(reader.layers), *linear("image_encoder.glm_proj", "projection"), *chatglm.LANGUAGE)
    unused = dropped(f"{_QFORMER}.position_embeddings.weight", "the queries have no positions")
    return SourceLayout(config, (*rules, unused), ABSENT)


def _cross_attention_every(bert: Fields) -> int:
    """How often a layer of the Q-Former attends to the image: `is_decoder` says so for each layer, or for all."""
    layers, attends = bert.positive("num_layers"), bert.get("is_decoder")
    if attends is None:
        return 2
    attends = attends if isinstance(attends, list) else [attends] * layers
    every = next((number for number, one in enumerate(attends) if number and one), layers)
    bert.demand(
        attends == [number % every == 0 for number in range(layers)],
        f"is_decoder is {attends}; layers 0, n, 2·n, … must attend to the image",
    )
    return every
