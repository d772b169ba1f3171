"""Recipes are checked as a whole, and every key of one is an option with the help of its field."""

from pathlib import Path

import pytest
from typer.main import get_command

import imageclef_vqa
from imageclef_vqa.cli import app
from imageclef_vqa.cli.recipe_options import options
from imageclef_vqa.errors import UsageError
from imageclef_vqa.models.presets import PRESETS
from imageclef_vqa.pipeline import finetune
from imageclef_vqa.training.recipe import RECIPES, Recipe, choose_recipe
from imageclef_vqa.workspace import Workspace

FILES = sorted((Path(imageclef_vqa.__file__).parent / "training" / "recipes").glob("*.toml"))


def test_every_key_of_a_recipe_is_an_option_of_the_same_type():
    spelled = {parameter.name: parameter.opts for parameter in get_command(app).commands["finetune"].params}
    for name, (kind, option) in options().items():
        assert f"--{name.replace('_', '-')}" in spelled[name]
        assert kind == Recipe.model_fields[name].annotation
        assert option.help == Recipe.model_fields[name].description


def test_there_is_a_recipe_for_each_row_of_table_2_and_for_tiny():
    rows = {
        f"{name.replace('-t5', f'{frozen}-t5').replace('-glm', f'{frozen}-glm')}"
        for name in PRESETS
        if name.startswith("vit-")
        for frozen in ("", "-frozen")
    }
    assert {file.stem for file in FILES} == rows | {"tiny"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_of_the_examples_is_what_its_name_says(file):
    for stage in (1, 2):
        name, recipe = choose_recipe(stage, recipe=str(file))
        assert name == file.stem.replace("-frozen", "")
        if name == "tiny":
            assert recipe == RECIPES["tiny"][stage]
            continue
        assert recipe.freeze_vision == (stage == 1 or "frozen" in file.stem)
        expected = {"epochs": {1: 100, 2: 50}[stage], "batch": 16, "learning_rate": 1e-4, "warmup_steps": 1000}
        expected |= {"weight_decay": 1e-4, "answer_tokens": 10, "clip": 0.0, "batch_unit": "images"}
        expected["label_smoothing"] = {1: 0.1, 2: 0.0}[stage]
        assert {key: getattr(recipe, key) for key in expected} == expected


def test_all_faults_of_a_file_are_reported_together(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(
        "preset = 7\nwarmup = 3\n[stage1]\nepochs = 0\nfreeze_vision = false\n"
        '[stage2]\nepoch = 3\nlearning_rate = "fast"\nprecision = "int8"\nbatch = 2.5\n'
    )
    with pytest.raises(UsageError) as raised:
        choose_recipe(2, recipe=str(path))
    for complaint in (
        "warmup: unknown; a recipe has preset or [model], [stage1] and [stage2]",
        "preset: must be a string",
        "stage1.epochs: input should be greater than or equal to 1, not 0",
        "stage2.epoch: unknown; there are lora_rank, lora_alpha",
        "stage2.learning_rate: ",
        "stage2.precision: input should be 'auto', 'fp32', 'bf16' or 'fp16', not 'int8'",
        "stage2.batch: ",
    ):
        assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("stage", "changes", "complaints"),
    [
        (1, {"freeze_vision": False, "questions": 3}, ["freeze_vision: stage 1", "questions: only stage 2"]),
        (1, {"share_prefix": True, "accumulate": 17}, ["share_prefix: only stage 2", "accumulate: a batch of 16"]),
        (1, {"unfreeze": 1}, ["unfreeze: only stage 2"]),
        (2, {"unfreeze": 1}, ["unfreeze: without freeze_vision, all of vision is trained"]),
        (2, {"answer_weight": 0.0, "word_weight": 0.0}, ["answer_weight: there is no loss"]),
        (2, {"train_on": "all", "patience": 2}, ["patience: with train_on = all there are no"]),
        (2, {"epochs": 0, "ema": 1.0, "clip": -1.0}, ["epochs: ", "ema: ", "clip: "]),
        (2, {"label_smoothing": 0.1}, ["label_smoothing: only stage 1"]),
        (2, {"batch_unit": "pairs", "questions": 3}, ["questions: with batch_unit = pairs"]),
    ],
)
def test_all_contradictions_between_options_are_reported(stage, changes, complaints):
    with pytest.raises(UsageError) as raised:
        choose_recipe(stage, preset="tiny", changes=changes)
    for complaint in complaints:
        assert f"  {complaint}" in str(raised.value)


def test_faults_of_options_are_reported_together_with_those_of_the_file(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('preset = "huge"\n[stage1]\ncache_features = false\nbogus = 1\n')
    with pytest.raises(UsageError) as raised:
        choose_recipe(1, recipe=str(path), changes={"batch": 0, "augment": True})
    _, *complaints = str(raised.value).splitlines()
    assert [each.split(":")[0].strip() for each in complaints] == ["preset", "stage1.bogus", "batch"]
    assert "unknown, 'huge'; there are tiny, vit-l-t5-base" in complaints[0]


@pytest.mark.parametrize(
    ("edition", "lite", "tiny"), [("gi-2023", "lite", "tiny"), ("medico-2026", "lite-open", "tiny-open")]
)
def test_the_default_preset_has_an_encoder_of_photographs_where_its_package_is_installed(
    tmp_path, monkeypatch, edition, lite, tiny
):
    (tmp_path / "medvqa.toml").write_text(f'[data]\nedition = "{edition}"\n')
    workspace = Workspace.at(tmp_path)
    assert finetune.choose_model(workspace, 2)[0].name == tiny
    monkeypatch.setattr(finetune, "packaged_weights", lambda encoder: Path(f"{encoder}.pth"))
    assert finetune.choose_model(workspace, 2)[0].name == lite
    assert finetune.choose_model(workspace, 2, preset=tiny)[0].name == tiny


def test_an_option_overrides_the_file_and_the_file_the_paper(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('preset = "vit-l-t5-base"\n[stage2]\nbatch = 8\nepochs = 4\n')
    name, recipe = choose_recipe(2, recipe=str(path), changes={"epochs": 7, "batch": None})
    assert (name, recipe.epochs, recipe.batch, recipe.answer_tokens) == ("vit-l-t5-base", 7, 8, 10)
    assert choose_recipe(2, preset="tiny", recipe=str(path))[0] == "tiny"


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "no such file"), (b"[stage1", "recipe.toml: "), (b"\xff", "not UTF-8")]
)
def test_a_file_that_is_no_toml_is_named(tmp_path, content, reason):
    path = tmp_path / "recipe.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"--recipe .*recipe\.toml") as raised:
        choose_recipe(1, recipe=str(path))
    assert reason in str(raised.value)


def test_the_paper_limits_answers_to_ten_tokens_and_the_default_does_not():
    assert choose_recipe(2, recipe="paper")[1].answer_tokens == 10
    assert choose_recipe(2, preset="vit-g-glm-6b")[1].answer_tokens == 0
    assert choose_recipe(2, preset="tiny")[1].answer_tokens == 0
