"""`medvqa plan` says what a preset needs, without Paddle, and what would make it fit."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imageclef_vqa.cli import app
from imageclef_vqa.data.augmentation import MIRRORED
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.models.presets import PRESETS, find_preset
from imageclef_vqa.planning import PARTS, Workload, make_plan, smallest_change
from imageclef_vqa.training.recipe import choose_recipe


def planned(*options: str) -> dict:
    done = CliRunner().invoke(app, ["plan", "--json", *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def workload_of(name: str, stage: str = "2") -> Workload:
    if stage == "predict":
        return Workload(preset=find_preset(name), stage="predict", questions=len(QUESTIONS))
    _, recipe = choose_recipe(int(stage), preset=name)
    return recipe.workload(find_preset(name), int(stage))


def test_a_plan_of_all_presets_needs_no_paddle_and_little_memory():
    code = """
import re, sys
sys.modules['paddle'] = sys.modules['paddlenlp'] = None
from imageclef_vqa.cli import app
app(["plan", "--json"], standalone_mode=False)
print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])  # getrusage counts pytest's before exec
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout.split()[-1]) < 300_000  # kB
    assert [each["preset"] for each in json.loads(done.stdout.rsplit("]", 1)[0] + "]")] == list(PRESETS)


def test_frozen_parts_have_no_gradients_and_shared_ones_less_optimiser_state():
    trained, frozen = planned("--preset", "vit-g-t5-base"), planned("--preset", "vit-g-t5-base", "--freeze-vision")
    vision = trained["parameters"]["vision"] - 2 * 1408  # its last norm is always trained
    assert trained["memory"]["gradients"] - frozen["memory"]["gradients"] == 4 * vision
    assert trained["memory"]["optimiser"] - frozen["memory"]["optimiser"] == 8 * vision
    assert frozen["memory"]["disk_features"] > 0 == trained["memory"]["disk_features"]
    shared = planned("--preset", "vit-g-t5-base", "--devices", "8")
    assert shared["memory"]["optimiser"] == pytest.approx(trained["memory"]["optimiser"] / 8)
    assert shared["images_per_device"] == 2


def test_both_readings_of_the_papers_batch_have_their_steps():
    images, pairs = (planned("--preset", "vit-g-glm-6b", "--batch-unit", unit) for unit in ("images", "pairs"))
    assert (images["steps"], pairs["steps"]) == (5650, 101_250)
    assert pairs["flops_per_step"] < images["flops_per_step"]
    assert planned("--preset", "vit-g-glm-6b", "--stage", "1", "--batch-unit", "pairs")["steps"] == 202_500


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("stage", ["1", "2", "predict"])
def test_the_peak_lies_between_what_stays_and_the_sum_of_all_parts(name, stage):
    made = make_plan(workload_of(name, stage))
    assert set(made.parts) == set(PARTS)
    stays = made.parts["weights"] + made.parts["optimiser"] + made.parts["cache"]
    assert stays < made.peak <= sum(made.parts.values())


@pytest.mark.parametrize(("name", "room"), [("vit-g-t5-base", 32e9), ("vit-g-t5-3b", 32e9), ("vit-g-glm-6b", 32e9)])
def test_the_smallest_change_fits_and_names_options_that_finetune_has(name, room):
    workload = workload_of(name)
    assert make_plan(workload).peak > room
    said, changed = smallest_change(workload, room)
    assert make_plan(changed).peak <= room
    help_text = CliRunner().invoke(app, ["finetune", "--help"]).output
    for words in said:
        if "(--" in words:
            assert words.split("(")[1].split()[0].rstrip(")") in help_text


def test_one_change_is_preferred_to_several():
    workload = workload_of("vit-g-t5-base")
    recomputed = replace(
        workload, preset=replace(workload.preset, vision=replace(workload.preset.vision, recompute=True))
    )
    said, _ = smallest_change(workload, make_plan(recomputed).peak)
    assert said == ["recompute vision's activations (--recompute)"]


def test_no_change_is_said_where_none_is_enough():
    assert smallest_change(workload_of("vit-g-glm-6b"), 1e9) is None
    done = CliRunner().invoke(app, ["plan", "--preset", "vit-g-glm-6b", "--memory", "1GB"])
    assert "no change of options is enough" in done.output


def test_operations_are_those_known_of_the_models():
    """ViT-g/14 at 224 pixels has 260 GMAC; ChatGLM-6B about 0.72 TFLOP for 58 tokens."""
    glm = find_preset("vit-g-glm-6b")
    assert glm.vision.flops(1) == pytest.approx(2 * 260e9, rel=0.03)
    assert glm.language.flops(1, 58, 0) == pytest.approx(0.72e12, rel=0.1)


@pytest.mark.parametrize(
    "options", [["--memory", "much"], ["--flops", "0T"], ["--image-size", "225"], ["--preset", "x"]]
)
def test_what_cannot_be_planned_is_a_usage_error(options):
    done = CliRunner().invoke(app, ["plan", "--preset", "vit-g-t5-base", *options])
    assert done.exit_code == 2


def test_the_example_for_ascend_fits_the_cards_that_it_is_for():
    file = Path(__file__).parents[1] / "examples/ascend/8-cards.toml"
    for stage, whole in ((1, 18.7e9), (2, 34.0e9)):
        name, recipe = choose_recipe(stage, recipe=str(file))
        workload = recipe.workload(find_preset(name), stage, precision=recipe.precision, devices=8)
        assert make_plan(workload).peak < 32e9
        assert make_plan(replace(workload, accumulate=1)).peak == pytest.approx(whole, rel=0.01)


@pytest.mark.parametrize("name", PRESETS)
def test_operations_of_a_pair_are_those_of_a_step_and_by_itself_those_of_an_image_with_one_question(name):
    recipe = choose_recipe(2, preset=name)[1]
    questions, views = recipe.questions, len(MIRRORED) if recipe.augment else 1
    together = planned("--preset", name, "--batch", "2", "--epochs", "1", "--images", "10")
    single = planned("--preset", name, "--batch-unit", "pairs", "--batch", "1", "--questions", "18")
    if together["memory"]["disk_features"]:  # frozen vision: once per view of an image, or for every pair
        vision = find_preset(name).vision.flops(1)
        assert together["flops_per_pair"] == pytest.approx(
            (together["flops_per_step"] / 2 + views * vision) / questions
        )
        assert together["flops_pair_by_pair"] == pytest.approx(single["flops_per_step"] + vision)
    else:
        assert together["flops_per_pair"] == pytest.approx(together["flops_per_step"] / (2 * questions))
        assert together["flops_pair_by_pair"] == pytest.approx(single["flops_per_step"])
    answered = planned("--preset", name, "--stage", "predict", "--questions", "1")
    assert answered["flops_per_pair"] == pytest.approx(answered["flops_pair_by_pair"])


def test_the_ratio_of_operations_falls_with_the_size_of_the_language_model():
    ratios = [
        each["flops_pair_by_pair"] / each["flops_per_pair"]
        for each in (planned("--preset", f"vit-g-{language}") for language in ("t5-base", "t5-3b", "glm-6b"))
    ]
    assert ratios == pytest.approx([14.5, 4.8, 2.1], abs=0.1)
    said = CliRunner().invoke(app, ["plan"]).output
    assert "pair by pair" in said
    assert "14.5" in next(line for line in said.splitlines() if "vit-g-t5-base" in line and "TFLOP" in line)
