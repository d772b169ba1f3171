"""Published encoders of any family, each with a T5, go the whole way: converted, trained, answering, packaged.

The layouts are those that transformers and timm wrote into the reference fixtures; weights are random.
"""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import paddle
import pytest
from reference_models import near, part, reference, source
from reference_weights import numbers, weights
from test_published_chain import write_tokenizer
from torch_files import pickled, text, write_pth
from typer.testing import CliRunner

from imageclef_vqa.checkpoints.convert import convert, plan_conversion
from imageclef_vqa.checkpoints.folder import read_folder_config
from imageclef_vqa.checkpoints.layers import own_tensors, save_weights
from imageclef_vqa.checkpoints.source import open_source
from imageclef_vqa.cli import app
from imageclef_vqa.editions import read_predictions
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.configs import QFormerConfig
from imageclef_vqa.models.encoder import STATISTICS
from imageclef_vqa.models.presets import PRESETS
from imageclef_vqa.models.qformer import QFormer
from imageclef_vqa.models.vision import resize_positions
from imageclef_vqa.pipeline.plan import plan
from imageclef_vqa.synthetic import write_synthetic_dataset

TOKENS = 192  # of T5
ARCHITECTURE = {"architecture": "vit_tiny_patch14_28", "model_args": {"num_heads": 2}}
STATISTICS_OF = {"clip": "clip", "siglip": "inception", "dinov2": "imagenet", "timm": "inception"}
QFORMER = QFormerConfig(
    queries=4,
    width=16,
    layers=2,
    heads=2,
    mlp_width=24,
    vocabulary=TOKENS,
    positions=64,
    shared_width=8,
    text="language",
)


def published(kind, folder):
    """A source of random weights with the names and shapes of the published code, and its `config.json`."""
    if kind == "timm":
        return source(folder, reference("hf_timm_models")[1]["plain"], ARCHITECTURE)
    _, about = reference(f"hf_{kind}")
    return source(folder, about["shapes"], about["config"])


def published_t5(folder):
    about = reference("hf_t5")[1]["plain"]
    shapes = {name: [TOKENS if size == 60 else size for size in shape] for name, shape in about["shapes"].items()}
    made = source(folder, shapes, about["config"] | {"vocab_size": TOKENS})
    write_tokenizer(folder)
    return open_source(made.path)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Twenty drawn images, four of them for the test set, and a split."""
    root = tmp_path_factory.mktemp("drawn")
    write_synthetic_dataset(root / "data", images=16, test=4, seed=3)
    medvqa(root, "split", "--val", "0.25")
    return root


def medvqa(root, *arguments):
    done = CliRunner().invoke(app, [*arguments, "--workspace", str(root)])
    assert done.exit_code == 0, f"{arguments}\n{done.output}"
    return done.stdout


@pytest.mark.parametrize("kind", STATISTICS_OF)
def test_an_encoder_with_a_t5_goes_the_whole_way(kind, drawn, tmp_path, request):
    root, weights = tmp_path / "workspace", tmp_path / "weights"
    shutil.copytree(drawn, root)
    convert(published(kind, tmp_path / "encoder"), weights)
    convert(published_t5(tmp_path / "t5"), weights)
    config = read_folder_config(weights)
    assert config.vision.statistics == STATISTICS_OF[kind]
    assert config.vision.tokens == 4 + (kind != "siglip")
    sizes = replace(QFORMER, vision_width=config.vision.width)
    save_weights(weights / "qformer.safetensors", own_tensors(QFormer(sizes)))
    replace(config, qformer=sizes, sources=dict(config.sources) | {"qformer": "medvqa"}).write(weights)

    with_weights = ("--preset", "folder", "--weights", str(weights), "--epochs", "1", "--batch", "6", "--device", "cpu")
    shown = medvqa(root, "finetune", "--stage", "1", *with_weights)
    assert f"finetune --stage 2 --preset folder --weights {weights} --workspace {root}`" in shown
    medvqa(root, "finetune", "--stage", "2", *with_weights, "--lora-rank", "2")
    log = [json.loads(line) for line in (root / "work/main/stage2/log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(each["answers"]) for each in log if "answers" in each)
    medvqa(root, "predict", "--device", "cpu")
    if kind != "siglip" and not request.config.getoption("--long"):
        assert len(read_predictions(root / "work/main/predictions/test.jsonl")) == 4 * 18
        return  # what follows knows nothing of encoders
    scores = json.loads(medvqa(root, "score", "--json"))
    assert 0 <= scores["folds"]["val"]["global"]["exact_set"] <= 1
    medvqa(root, "package", "--out", str(root / "run.csv"))
    with (root / "run.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 4 * 18


def test_siglip_gives_what_enters_its_last_layer_and_has_no_class_token(tmp_path):
    expected, about = reference("hf_siglip")
    conversion = plan_conversion(published("siglip", tmp_path / "siglip"))
    vision = part(conversion, "vision")
    near(vision.features(paddle.to_tensor(numbers("pixels", (2, 3, 28, 28)))), expected["features"])
    assert "class_token" not in vision.state_dict()
    assert about["config"]["hidden_act"] == conversion.config.vision.activation == "gelu_pytorch_tanh"
    assert STATISTICS[conversion.config.vision.statistics] == ((0.5,) * 3, (0.5,) * 3)
    assert all(
        name.startswith("vision_model.head") or "post_layernorm" in name or ".layers.2." in name
        for name in conversion.dropped
    )


@pytest.fixture
def plain():
    """Tensors of a timm ViT of 128 channels."""
    return weights(reference("hf_timm_models")[1]["plain"])


@pytest.mark.parametrize("wrapper", ["", "teacher", "model"])
@pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone."])
def test_files_of_dino_and_mae_are_read_like_plain_ones(wrapper, prefix, plain, tmp_path):
    """Under a key, with the options of their training, and with prefixes, the heads and the decoder of pretraining."""
    extra = {"decoder_pred.weight": (4, 8), "mask_token": (1, 1, 8)}
    extra = {f"{prefix}{name}": np.ones(shape, "float32") for name, shape in extra.items()}
    if prefix:
        extra |= {f"{prefix.removesuffix('backbone.')}head.mlp.0.weight": np.ones((4, 128), "float32")}
    tensors = {f"{prefix}{name}": array for name, array in plain.items()} | extra
    table = pickled(tensors)[2:-1]
    options = b"cargparse\nNamespace\n)\x81}(" + text("lr") + b"K\x01ub"
    content = b"\x80\x02}(" + text(wrapper) + table + text("args") + options + b"u." if wrapper else None
    (tmp_path / "file").mkdir()
    write_pth(tmp_path / "file/checkpoint.pth", tensors, content)
    (tmp_path / "file/config.json").write_text(json.dumps({"model_args": {"num_heads": 2}}))
    found = plan_conversion(open_source(tmp_path / "file"))
    expected = plan_conversion(source(tmp_path / "plain", {}, {"model_args": {"num_heads": 2}}, **plain))
    assert found.config.vision == expected.config.vision
    assert found.config.vision.statistics == "imagenet"
    for name, tensor in expected.parts["vision"].items():
        np.testing.assert_array_equal(found.parts["vision"][name].bits(), tensor.bits(), name)


@pytest.mark.parametrize(
    ("config", "tensors", "complaint"),
    [
        ({}, {}, "a width of 128 does not tell how many heads"),
        ({"num_heads": 2, "norm_layer": "rmsnorm"}, {}, "norm_layer in model_args"),
        ({"num_heads": 2}, {"blocks.0.attn.q_norm.weight": (64,)}, "norms of queries and keys"),
        ({"num_heads": 2}, {"blocks.0.mlp.fc1.weight": (384, 128)}, "gated MLP"),
        ({"num_heads": 2}, {"patch_embed.backbone.conv.weight": (2,)}, "a convolutional stem"),
        ({"num_heads": 2, "act_layer": "elu"}, {}, "act_layer is 'elu'"),
        ({"num_heads": 2}, {"pos_embed": (1, 7, 128)}, "7 positions, which are no square"),
    ],
)
def test_what_a_vit_of_timm_has_and_ours_has_not_is_named(config, tensors, complaint, plain, tmp_path):
    changed = plain | {name: np.ones(shape, "float32") for name, shape in tensors.items()}
    with pytest.raises(MedvqaError, match=complaint):
        plan_conversion(source(tmp_path / "vit", {}, {"architecture": "vit_tiny", "model_args": config}, **changed))


def test_norms_after_attention_and_other_statistics_are_refused(plain, tmp_path):
    config = ARCHITECTURE | {"architecture": "vit_base_patch16_rpn_224"}
    with pytest.raises(MedvqaError, match="norms after attention"):
        plan_conversion(source(tmp_path / "vit", {}, config, **plain))
    for beside, name in (((0.3464, 0.228, 0.2228), "endovit"), ((0.1, 0.1, 0.1), None)):
        (tmp_path / "vit/preprocessor_config.json").write_text(json.dumps({"image_mean": beside}))
        if name is None:
            with pytest.raises(MedvqaError, match=r"mean \[0.1, 0.1, 0.1\] and deviation None; known are clip"):
                plan_conversion(source(tmp_path / "vit", {}, ARCHITECTURE, **plain))
        else:
            assert plan_conversion(source(tmp_path / "vit", {}, ARCHITECTURE, **plain)).config.vision.statistics == name
    config = ARCHITECTURE | {"pretrained_cfg": {"mean": [0.5] * 3, "std": [0.2] * 3}}
    with pytest.raises(MedvqaError, match=r"deviation \[0.2, 0.2, 0.2\]"):
        plan_conversion(source(tmp_path / "vit", {}, config, **plain))


@pytest.mark.parametrize(
    ("kind", "field", "value", "complaint"),
    [
        ("clip", "num_hidden_layers", 4, "num_hidden_layers is 4; the weights have fewer"),
        ("t5", "tie_word_embeddings", False, r"tie_word_embeddings is false, but lm_head\.weight is missing"),
        ("timm", "embed_dim", 64, "embed_dim is 64; the tensors have 128"),
        ("timm", "depth", 4, "depth is 4; the tensors have 3"),
    ],
)
def test_a_config_that_contradicts_the_tensors_is_refused(kind, field, value, complaint, plain, tmp_path):
    if kind == "timm":
        about = {"shapes": {}, "config": {"model_args": {"num_heads": 2, field: value}}}
    else:
        about = reference(f"hf_{kind}")[1]
        about = about.get("plain", about)
        about["config"][field] = value
        about["shapes"].pop("lm_head.weight", None)
    with pytest.raises(MedvqaError, match=complaint):
        plan_conversion(source(tmp_path / kind, about["shapes"], about["config"], **plain if kind == "timm" else {}))


def test_an_encoder_of_a_folder_is_planned_to_the_last_parameter(tmp_path):
    _, about = reference("hf_dinov2_with_registers")
    made = convert(source(tmp_path / "source", about["shapes"], about["config"]), tmp_path / "weights")
    (planned,) = plan(["folder+t5-tiny"], "2", weights=tmp_path / "weights", memory=1e9, rate=1e9)
    norms = 2 * made.config.vision.width  # absent from the source
    stored = sum(int(np.prod(tensor.shape)) for tensor in made.parts["vision"].values())
    assert planned["parameters"]["vision"] == stored + norms


def test_an_epsilon_that_paddle_refuses_and_an_unknown_model_are_named(tmp_path):
    _, about = reference("hf_clip")
    with pytest.raises(MedvqaError, match=r"layer_norm_eps is 0\.002; more than 0\.001 is not supported"):
        plan_conversion(source(tmp_path / "clip", about["shapes"], about["config"] | {"layer_norm_eps": 0.002}))
    with pytest.raises(MedvqaError, match="model_type 'beit' is not supported"):
        plan_conversion(source(tmp_path / "clip", about["shapes"], about["config"] | {"model_type": "beit"}))


def test_positions_without_a_class_token_are_all_resized():
    grid = np.random.default_rng(0).standard_normal((1, 16, 8)).astype("float32")
    token = np.full((1, 1, 8), 7.0, "float32")
    sizes = replace(PRESETS["tiny"].vision, image_size=7 * 16)
    with_token = resize_positions(np.concatenate([token, grid], axis=1), sizes)
    np.testing.assert_array_equal(resize_positions(grid, replace(sizes, class_tokens=0)), with_token[:, 1:])
    np.testing.assert_array_equal(with_token[:, 0], token[:, 0])
