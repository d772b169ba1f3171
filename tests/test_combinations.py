"""Any encoder goes with any language model: a combination is a preset, by its name or as `[model]`."""

from pathlib import Path

import numpy as np
import pytest
from small_chain import write_small_weights
from typer.testing import CliRunner

from imageclef_vqa.checkpoints.folder import choose_preset
from imageclef_vqa.checkpoints.layers import load_weights, read_weights
from imageclef_vqa.checkpoints.pretrained import load_pretrained, random_parts
from imageclef_vqa.cli import app
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.combinations import ENCODERS, LANGUAGES
from imageclef_vqa.models.presets import find_preset
from imageclef_vqa.pipeline.plan import plan
from imageclef_vqa.training.config import StageConfig
from imageclef_vqa.training.recipe import DEFAULT, choose_recipe

ALL = [f"{vision}+{language}" for vision in ENCODERS for language in LANGUAGES]


@pytest.mark.parametrize("name", ALL)
def test_the_q_former_of_a_combination_reads_the_encoder_and_the_projection_feeds_the_language_model(name):
    preset, (vision, language) = choose_preset(name), name.split("+")
    assert preset.vision == ENCODERS[vision]
    assert preset.language == LANGUAGES[language].language
    assert preset.qformer.vision_width == preset.vision.width
    assert preset.learns_language == (language == "t5-open")
    (summary,) = plan([name], "2", memory=32e9, rate=1e14)
    assert summary["preset"] == name


def test_a_combination_starts_from_the_parts_that_come_with_the_package():
    model, tokenizer = load_pretrained(choose_preset("vit-tiny+t5-tiny"))
    tiny, _ = load_pretrained(find_preset("tiny"))
    for part in ("vision", "language"):
        ours, theirs = getattr(model, part).state_dict(), getattr(tiny, part).state_dict()
        assert all(np.array_equal(ours[name].numpy(), theirs[name].numpy()) for name in theirs)
    assert not np.array_equal(model.qformer.queries.numpy(), tiny.qformer.queries.numpy())
    assert tokenizer is not None
    assert random_parts(choose_preset("vit-tiny+t5-tiny"), 1)[0] == ["Q-Former"]
    assert random_parts(choose_preset("efficientnet-lite1+t5-tiny"), 1)[0] == [], "nothing has one: it is only named"


def test_lite_starts_from_weights_alone_and_has_the_language_model_of_tiny():
    lite, tiny = find_preset("lite"), find_preset("tiny")
    assert random_parts(lite, 1) == ([], ["heads of stage 1"])
    assert random_parts(lite, 2) == ([], [])
    for name in ("language.safetensors", "spiece.model"):
        assert lite.file(name) == tiny.file(name)
    tensors = {part: read_weights(lite.weights / f"{part}.safetensors") for part in ("qformer", "projection")}
    model = Blip2(lite)
    for part, held in tensors.items():
        load_weights(getattr(model, part), held, part)


def test_a_combination_that_needs_weights_asks_for_their_folder():
    for name in ("vit-l+t5-tiny", "vit-tiny+t5-base", "efficientnet-lite2+glm-6b"):
        assert choose_preset(name).needs_folder
        with pytest.raises(UsageError, match="comes without weights: name their folder with --weights"):
            _ = choose_preset(name).folder
    for name in ("vit-tiny+t5-tiny", "efficientnet-lite0+t5-tiny", "efficientnet-lite0+t5-open"):
        assert not choose_preset(name).needs_folder


def test_a_part_of_a_combination_may_be_the_folder_s(tmp_path):
    small = write_small_weights(tmp_path / "weights")
    eye, speaker = (choose_preset(name, tmp_path / "weights") for name in ("folder+t5-open", "vit-tiny+folder"))
    assert (eye.vision, eye.learns_language) == (small.vision, True)
    assert speaker.language == small.language
    assert speaker.qformer.queries == small.qformer.queries
    assert load_pretrained(speaker)[0].vision.config == ENCODERS["vit-tiny"]
    with pytest.raises(UsageError, match=r"--preset folder\+t5-base .*--weights"):
        choose_preset("folder+t5-base")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MedvqaError, match="has no language"):
        choose_preset("vit-l+folder", tmp_path / "empty")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit-h+t5-base", r"no encoder is called 'vit-h'; there are: vit-tiny, vit-l, .*efficientnet-lite2, folder"),
        ("vit-l+t5", r"no language model is called 't5'; there are: t5-tiny, t5-open, .*glm-6b, folder"),
        ("vit-l+", r"no language model is called ''"),
    ],
)
def test_an_unknown_part_is_named_with_those_that_there_are(name, message):
    with pytest.raises(UsageError, match=message):
        choose_preset(name)


def test_a_recipe_names_a_combination_by_its_parts(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('[model]\nvision = "vit-l"\nlanguage = "t5-base"\n[stage2]\nepochs = 3\n')
    name, recipe = choose_recipe(2, recipe=str(path))
    assert (name, recipe.epochs) == ("vit-l+t5-base", 3)
    assert choose_recipe(2, preset=name)[1] == DEFAULT[2]
    path.write_text('preset = "tiny"\n[model]\nvision = 3\nsound = "none"\n')
    with pytest.raises(UsageError) as raised:
        choose_recipe(2, recipe=str(path))
    for fault in ("[model] vision: ", "[model] language: ", "[model] sound: unknown", "preset: not beside [model]"):
        assert fault in str(raised.value)


def test_the_settings_name_a_combination_by_its_parts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = []
    for content in (
        '[model]\nvision = "vit-h"\nlanguage = "t5-base"\n',
        '[model]\nvision = "vit-l"\n',
        '[model]\nvision = "vit-l"\nlanguage = "t5-base"\n[finetune]\npreset = "tiny"\n',
    ):
        Path("medvqa.toml").write_text(content)
        done = CliRunner().invoke(app, ["finetune", "--stage", "2", "--device", "cpu"])
        assert done.exit_code == 2
        said.append(done.stderr)
    for text, message in zip(
        said, ("no encoder is called 'vit-h'", "[model] language: ", "not beside [model]"), strict=True
    ):
        assert message in text


def test_a_finished_stage_finds_its_combination_again():
    _, recipe = choose_recipe(2)
    config = StageConfig(
        preset="efficientnet-lite0+t5-tiny",
        stage=2,
        recipe=recipe,
        seed=0,
        fold=0,
        data="",
        training_images="",
        weights={},
    )
    assert config.starting_point() == choose_preset("efficientnet-lite0+t5-tiny")
