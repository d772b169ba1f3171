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
from reference_weights import numbers
from test_published_chain import write_tokenizer
from typer.testing import CliRunner

from imageclef_vqa.checkpoints.convert import convert, plan_conversion
from imageclef_vqa.checkpoints.folder import read_folder_config
from imageclef_vqa.checkpoints.layers import own_tensors, save_weights
from imageclef_vqa.checkpoints.source import open_source
from imageclef_vqa.cli import app
from imageclef_vqa.editions import read_predictions
from imageclef_vqa.models.configs import QFormerConfig
from imageclef_vqa.models.encoder import STATISTICS
from imageclef_vqa.models.qformer import QFormer
from imageclef_vqa.models.vision import resize_positions
from imageclef_vqa.synthetic import write_synthetic_dataset

TOKENS = 192  # of T5
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
        return source(folder, reference("hf_timm_models")[1]["plain"], {"architecture": "vit_tiny_patch14_28"})
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


def test_positions_without_a_class_token_are_all_resized():
    grid = np.random.default_rng(0).standard_normal((1, 16, 8)).astype("float32")
    token = np.full((1, 1, 8), 7.0, "float32")
    with_token = resize_positions(np.concatenate([token, grid], axis=1), 49)
    np.testing.assert_array_equal(resize_positions(grid, 49), with_token[:, 1:])
    np.testing.assert_array_equal(with_token[:, 0], token[:, 0])
