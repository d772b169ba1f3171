"""What the published code computes, number by number: encoders and language models.

`tests/fixtures/make_reference.py` made the files. Weights and inputs follow from names and shapes, so a source folder
is written here and converted as a user would.
"""

from dataclasses import replace

import paddle
import pytest
from reference_models import OF_LOGITS, near, part, reference, source
from reference_weights import numbers, weights

from imageclef_vqa.checkpoints.convert import plan_conversion
from imageclef_vqa.checkpoints.layers import load_weights
from imageclef_vqa.checkpoints.parts import build_part
from imageclef_vqa.models.encoder import normalise
from imageclef_vqa.models.language.languages import build_language
from imageclef_vqa.models.resnet34 import STATISTICS as RESNET34_STATISTICS
from imageclef_vqa.models.vision import resize_positions

PIXELS = paddle.to_tensor(numbers("pixels", (2, 3, 28, 28)))


@pytest.mark.parametrize("kind", ["clip", "siglip", "vit", "vit_mae", "deit", "dinov2", "dinov2_with_registers"])
def test_encoders_of_transformers_give_what_enters_their_last_layer(kind, tmp_path):
    expected, about = reference(f"hf_{kind}")
    conversion = plan_conversion(source(tmp_path / kind, about["shapes"], about["config"]))
    vision = part(conversion, "vision")
    near(vision.features(PIXELS), expected["features"])
    known = {"clip": "clip", "siglip": "inception", "vit": "inception"}
    assert conversion.config.vision.statistics == known.get(kind, "imagenet")
    assert vision.norm._epsilon == 1e-5, "LAVIS's ln_vision"


@pytest.mark.parametrize("kind", ["plain", "scaled", "no_class_token", "registers", "registers_only", "siglip"])
def test_encoders_of_timm_give_what_enters_their_last_layer(kind, tmp_path):
    expected, about = reference("hf_timm_models")
    config = {"architecture": f"vit_so400m_patch16_{kind}_256", "model_args": {"num_heads": 2}}
    near(part(plan_conversion(source(tmp_path / kind, about[kind], config)), "vision").features(PIXELS), expected[kind])


@pytest.mark.parametrize("kind", ["clip", "eva"])
def test_positions_are_resized_as_lavis_resizes_those_of_each_encoder(kind, tmp_path):
    expected, about = reference("lavis_vision")
    _, stage = reference("lavis_stage1")
    qformer = {name: shape for name, shape in stage["shapes"].items() if not name.startswith("visual_encoder.")}
    width = 128 if kind == "clip" else 176
    qformer |= {name: [shape[0], width] for name, shape in qformer.items() if shape[1:] == [176]}
    qformer |= {name: [width] for name in qformer if name.startswith("ln_vision.")}
    shapes = {f"visual_encoder.{name}": shape for name, shape in about[kind].items()}
    bare = {f"visual_encoder.{name}": array for name, array in weights(about[kind]).items()}
    conversion = plan_conversion(source(tmp_path / kind, shapes | qformer, **bare))
    sizes = conversion.config.vision
    assert sizes.align_corners == (kind == "clip")
    state = {name: tensor.bits() for name, tensor in conversion.parts["vision"].items()}
    state["positions"] = resize_positions(state["positions"], replace(sizes, image_size=56))
    vision = build_part("vision", replace(conversion.config, vision=replace(sizes, image_size=56)))
    load_weights(vision, state, kind)
    near(vision.features(paddle.to_tensor(numbers("larger pixels", (1, 3, 56, 56)))), expected[kind])


@pytest.mark.parametrize("kind", ["named", "own", "silu", "plain"])
def test_t5_has_the_activation_that_its_config_says(kind, tmp_path):
    expected, about = reference("hf_t5")
    conversion = plan_conversion(source(tmp_path / kind, about[kind]["shapes"], about[kind]["config"]))
    language = build_language(conversion.config.language)
    load_weights(language.model, conversion.parts["language"], kind)
    language.eval()
    embedded = paddle.to_tensor(numbers("embedded", (2, 5, 24)))
    none = paddle.zeros([2, 0], dtype="int64")
    memory = language.encode(embedded, none, none)
    near(language.answer_logits(memory, paddle.to_tensor([[3, 4, 1], [5, 6, 1]])), expected[kind], OF_LOGITS)


@pytest.mark.parametrize("edition", ["first", "later"])
def test_both_editions_of_chatglm_say_what_their_published_code_says(edition, tmp_path):
    expected, about = reference(f"chatglm_{edition}")
    conversion = plan_conversion(source(tmp_path / edition, about["shapes"], about["config"]))
    language = build_language(conversion.config.language)
    load_weights(language.model, conversion.parts["language"], edition)
    language.eval()
    visual, question, answer = (paddle.to_tensor(about[name]) for name in ("visual", "question", "answer"))
    memory = language.encode(language.embed(visual), question, paddle.ones_like(question))
    near(language.answer_logits(memory, answer), expected["logits"], OF_LOGITS)
    decoded, token = [], paddle.full([2], language.start, dtype="int64")
    for index in range(answer.shape[1]):
        logits, memory = language.step(memory, token)
        decoded.append(logits)
        token = answer[:, index]
    near(paddle.stack(decoded, axis=1), expected["logits"], OF_LOGITS)


def test_resnet34_sees_pixels_as_torchvision_normalises_them():
    expected, _ = reference("hf_resnet34")
    near(normalise(expected["pixels"], RESNET34_STATISTICS), expected["normalised"], 1e-6)


def test_visualglm_sees_and_reads_images_as_on_swissarmytransformer(tmp_path):
    expected, about = reference("visualglm")
    _, language = reference("chatglm_later")
    sizes = {24: 20, 72: 60}
    shapes = {name: [sizes.get(size, size) for size in shape] for name, shape in language["shapes"].items()}
    config = language["config"] | {"hidden_size": 20, "num_attention_heads": 2}
    config |= {name: about[name] for name in ("eva_config", "qformer_config")}
    conversion = plan_conversion(source(tmp_path / "visualglm", shapes | about["shapes"], config))
    assert conversion.format == "visualglm"
    assert conversion.config.language.prompt == "<img>{image}</img>问：{}\n答："
    vision = part(conversion, "vision")(PIXELS)
    near(vision, expected["vision"])
    queries = part(conversion, "qformer")(vision)
    near(queries, expected["qformer"])
    near(part(conversion, "projection")(queries), expected["projected"])
