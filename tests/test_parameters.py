"""The arithmetic of `medvqa plan` counts what the layers hold."""

from dataclasses import replace
from itertools import product

import pytest

from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.configs import GLMConfig, QFormerConfig, T5Config, VisionConfig
from imageclef_vqa.models.encoders import build_encoder
from imageclef_vqa.models.language.languages import build_language
from imageclef_vqa.models.presets import PRESETS, find_preset
from imageclef_vqa.models.pretraining_heads import PretrainingHeads
from imageclef_vqa.planning.parameters import count_parameters, trained_parameters
from imageclef_vqa.training import stage1, stage2
from imageclef_vqa.training.loop import set_trainable

TINY = find_preset("tiny")
T5 = T5Config(vocab_size=70, d_model=24, d_kv=5, d_ff=33, num_layers=1, num_decoder_layers=3, num_heads=3)
GLM = GLMConfig(vocab_size=90, hidden_size=24, num_layers=3, num_attention_heads=3, inner_hidden_size=33)
SMALL = {"width": 24, "layers": 3, "heads": 3, "mlp_width": 33}


def held(layer) -> int:
    return sum(parameter.size for parameter in layer.parameters())


@pytest.mark.parametrize(
    "sizes",
    [
        T5,
        replace(T5, tie_word_embeddings=False),
        replace(T5, feed_forward_proj="gated-gelu", relative_attention_num_buckets=8),
        GLM,
    ],
    ids=["t5", "untied", "gated", "glm"],
)
def test_a_language_model_has_the_counted_parameters(sizes):
    language = build_language(sizes)
    assert sizes.parameters() == held(language)
    assert sizes.largest_matrix() <= max(parameter.size for parameter in language.parameters())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"qkv_bias": False, "patch_bias": False, "patch_norm": True},
        {"stem": "convolutional", "patch_size": 16, "width": 96},
    ],
)
def test_a_vision_part_has_the_counted_parameters(changes):
    sizes = replace(find_preset("vit-g-t5-base").vision, image_size=64, **(SMALL | {"patch_size": 8} | changes))
    assert sizes.parameters() == held(build_encoder(sizes))
    for tokens in (0, 5):
        other = replace(sizes, class_tokens=tokens)
        assert other.parameters() == held(build_encoder(other)) == sizes.parameters() + 2 * (tokens - 1) * sizes.width


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("name", PRESETS)
def test_all_parts_together_and_what_learns_are_counted(name, every):
    """Every preset with small numbers in the place of its own, so that it can be built."""
    preset = PRESETS[name]
    vision = replace(preset.vision, image_size=64)
    if isinstance(vision, VisionConfig):
        vision = replace(vision, patch_size=16, **(SMALL | ({"width": 64} if vision.stem == "convolutional" else {})))
    qformer = QFormerConfig(
        **(SMALL | {"width": 12}), vision_width=vision.width, cross_attention_every=every, vocabulary=50, positions=9
    )
    language = {"t5": T5, "glm": GLM}[preset.language.kind]
    small = replace(preset, vision=vision, qformer=qformer, language=language)
    counts, heads = count_parameters(small), PretrainingHeads(qformer)
    model = Blip2(small)
    assert counts.vision == held(model.vision)
    assert counts.qformer + counts.text == held(model.qformer)
    assert counts.total == held(model)
    assert qformer.head_parameters() == held(heads)

    def learning(layer, table):
        return sum(parameter.size for parameter in set_trainable(layer, table).values())

    assert trained_parameters(counts, 1, held(heads), vision=False) == learning(
        stage1.Stage1(model, heads), stage1.TRAINABLE
    )
    for vision_learns, language_learns in product((True, False), repeat=2):
        expected = learning(model, stage2.trainable(vision=vision_learns, language=language_learns))
        trained = trained_parameters(counts, 2, held(heads), vision=vision_learns, language=language_learns)
        assert trained == expected


@pytest.mark.parametrize(
    ("name", "paper"),
    [("vit-l-t5-base", 715e6), ("vit-g-t5-base", 1.4e9), ("vit-g-glm-6b", 7.2e9)],
)
def test_the_totals_are_those_of_the_papers_table_2(name, paper):
    assert count_parameters(PRESETS[name]).total == pytest.approx(paper, rel=0.03)


def test_the_paper_counts_three_billion_for_its_3b_model():
    """Flan-T5-XL and T5-3B both have 2.85 billion; with the nominal 3, the row of table 2 is met."""
    counts = count_parameters(PRESETS["vit-g-t5-3b"])
    assert counts.language == pytest.approx(2.85e9, rel=0.001)
    assert counts.total - counts.language + 3e9 == pytest.approx(4.2e9, rel=0.01)
