"""A BLIP-2 with a GLM for language model goes the way of `tiny`: both stages, prediction, from a folder of weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
import sentencepiece
from typer.testing import CliRunner

from imageclef_vqa.checkpoints.safetensors import write_safetensors
from imageclef_vqa.checkpoints.stored import InMemory
from imageclef_vqa.cli import app
from imageclef_vqa.data import make_split, read_dataset
from imageclef_vqa.editions import QUESTIONS, read_predictions
from imageclef_vqa.errors import UsageError
from imageclef_vqa.models import presets
from imageclef_vqa.models.configs import GLMConfig
from imageclef_vqa.models.language.languages import build_language
from imageclef_vqa.models.presets import find_preset
from imageclef_vqa.pipeline.finetune import finetune_stage as finetune
from imageclef_vqa.pipeline.predict import predict_folds
from imageclef_vqa.synthetic import write_synthetic_dataset
from imageclef_vqa.training.recipe import Recipe
from imageclef_vqa.workspace import Workspace

PIECES = 400


def write_tokenizer(folder):
    text = [f"{question.text} {answer}" for question in QUESTIONS for answer in (*question.known, *question.aliases)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_prefix=str(folder / "ice_text"),
        vocab_size=PIECES,
        hard_vocab_limit=False,
        user_defined_symbols=["[gMASK]", "<sop>", "<eop>"],
        byte_fallback=True,
        normalization_rule_name="identity",
        num_threads=1,
        minloglevel=2,
    )
    (folder / "ice_text.vocab").unlink()
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "ice_text.model"))
    return {piece: pieces.piece_to_id(piece) for piece in ("[gMASK]", "<sop>", "<eop>")}


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """Vision and Q-Former of `tiny`, a small random GLM in half precision, and a tokenizer with GLM's pieces."""
    folder = tmp_path_factory.mktemp("glm")
    ids = write_tokenizer(folder)
    tiny = find_preset("tiny")
    sizes = GLMConfig(
        vocab_size=PIECES,
        hidden_size=96,
        num_layers=2,
        num_attention_heads=3,
        inner_hidden_size=256,
        gmask_token_id=ids["[gMASK]"],
        bos_token_id=ids["<sop>"],
        eos_token_id=ids["<eop>"],
    )
    language = build_language(sizes)
    rng = np.random.default_rng(0)
    tensors = {}
    for name, tensor in language.model.state_dict().items():
        scale = 1.0 if "word_embeddings" in name else 0.15
        array = np.ones(tensor.shape) if name.endswith("norm.weight") else rng.standard_normal(tensor.shape) * scale
        tensors[name] = InMemory(array.astype("float16"))
    write_safetensors(folder / "language.safetensors", tensors)
    qformer = replace(tiny.qformer, vocabulary=PIECES + 2)
    return replace(tiny, name="glm-test", language=sizes, qformer=qformer, weights=folder)


@pytest.fixture
def workspace(preset, tmp_path, monkeypatch):
    monkeypatch.setitem(presets.PRESETS, preset.name, replace(preset, weights=None, sources={1: ("somebody/glm",)}))
    write_synthetic_dataset(tmp_path / "data", images=12, test=1, seed=5)
    workspace = Workspace.at(tmp_path)
    make_split(read_dataset(workspace.development), val=0.25).write(workspace.split_file)
    return workspace


def test_glm_is_trained_in_both_stages_and_answers_from_the_vocabulary(preset, workspace):
    for stage, epochs in ((1, 1), (2, 4)):
        recipe = Recipe(epochs=epochs, batch=4, learning_rate=2e-3, warmup_steps=2, freeze_vision=stage == 1)
        finetune(workspace, preset, recipe, stage, seed=0, from_scratch_parts=True, notify=lambda _: None)
    log = [json.loads(line) for line in (workspace.stage(2) / "log.jsonl").read_text().splitlines()]
    losses = [each["answers"] for each in log if "epoch" in each]
    assert losses[-1] < 0.98 * losses[0]  # residuals scaled for 28 layers leave attention little weight

    predict_folds([workspace], notify=lambda _: None)
    known = {question.id: {name.casefold() for name in question.known} for question in QUESTIONS}
    predictions = read_predictions(workspace.predictions("val")) + read_predictions(workspace.predictions("test"))
    assert len(predictions) == (3 + 1) * 18
    for each in predictions:
        assert {answer.casefold() for answer in each.answers} <= known[each.question_id] | {"pink"}
        assert 0 < sum(candidate.probability for candidate in each.candidates) <= 1 + 1e-4


def test_a_preset_without_weights_says_what_to_fetch(preset, workspace):
    with pytest.raises(UsageError, match=r"--weights(.|\n)*`medvqa weights convert`.*somebody/glm"):
        _ = find_preset("glm-test").folder
    there = ["--workspace", str(workspace.root)]
    done = CliRunner().invoke(app, ["finetune", "--stage", "1", "--preset", "vit-g-t5-base", *there])
    assert done.exit_code == 2
    assert "google-t5/t5-base" in done.stderr
