"""A run that is killed, or whose disk is full, loses no file and ends with the same weights; a run with another config
is not resumed; runs are listed and drawn."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from small_chain import small_preset

from imageclef_vqa.checkpoints.layers import read_weights, save_weights
from imageclef_vqa.data import make_split, read_dataset
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.pipeline.finetune import finetune_stage as finetune
from imageclef_vqa.synthetic import write_synthetic_dataset
from imageclef_vqa.training import clock, loop
from imageclef_vqa.training.recipe import Recipe
from imageclef_vqa.workspace import Workspace

OPTIONS = {"epochs": 2, "batch": 6, "learning_rate": 1e-3, "warmup_steps": 2}
SHORT = {1: Recipe(**OPTIONS, freeze_vision=True), 2: Recipe(**OPTIONS, questions=6, layer_decay=0.8, ema=0.5)}

# `finetune`, killed while it writes its third state.
KILLED = """
import os, signal, sys
from pathlib import Path
from imageclef_vqa import devices
devices.prepare("cpu", seed=0)
from imageclef_vqa.checkpoints.folder import choose_preset
from imageclef_vqa.training import clock, loop
from imageclef_vqa.pipeline.finetune import finetune_stage as finetune
from imageclef_vqa.training.recipe import Recipe
from imageclef_vqa.workspace import Workspace
clock.SAVE_EVERY, clock.SAVE_SHARE = 0.0, float("inf")
replace, states = os.replace, []
def kill(source, target):
    if Path(target).name == "state.safetensors":
        states.append(1)
        if len(states) == 3:
            os.truncate(source, 5000)
            os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = kill
recipe, preset = Recipe.model_validate_json(sys.argv[3]), choose_preset("folder", Path(sys.argv[4]))
finetune(Workspace.at(Path(sys.argv[1]), "killed"), preset, recipe, int(sys.argv[2]), seed=0, notify=print)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A workspace whose run `main` was trained in both stages and never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    write_synthetic_dataset(folder / "data", images=16, test=1, seed=5)
    workspace = Workspace.at(folder)
    dataset = read_dataset(workspace.development, cache=workspace.cache)
    make_split(dataset, val=0.25, cache=workspace.cache).write(workspace.split_file)
    for number in (1, 2):
        train(workspace, number)
    return workspace


@pytest.fixture
def workspace(whole, tmp_path):
    """A copy of it, to spoil."""
    shutil.copytree(whole.root, tmp_path, dirs_exist_ok=True)
    return Workspace.at(tmp_path)


def train(workspace, number, recipe=None, notify=lambda _message: None, **options):
    return finetune(workspace, small_preset(), recipe or SHORT[number], number, seed=0, notify=notify, **options)


def stop_after_a_step(workspace, number, monkeypatch):
    """Leave an unfinished run in place of the finished one."""

    def stopped(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    shutil.rmtree(workspace.stage(number))
    save = loop._save
    with monkeypatch.context() as patch:
        patch.setattr(clock, "SAVE_EVERY", 0.0)
        patch.setattr(clock, "SAVE_SHARE", float("inf"))
        patch.setattr(loop, "_save", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(workspace, number)


def model(workspace, number):
    tensors = read_weights(workspace.stage(number) / "model.safetensors")
    return {name: tensor.tobytes() for name, tensor in tensors.items()}


def epochs(workspace, number):
    lines = (workspace.stage(number) / "log.jsonl").read_text().splitlines()
    return [each for each in map(json.loads, lines) if "epoch" in each]


@pytest.mark.parametrize("number", [1, 2])
def test_a_run_killed_while_it_saved_ends_with_the_weights_of_one_that_was_not(workspace, whole, number):
    killed = Workspace.at(workspace.root, "killed")
    if number == 2:
        shutil.copytree(workspace.stage(1), killed.stage(1))
    command = [sys.executable, "-c", KILLED, str(workspace.root), str(number), SHORT[number].model_dump_json()]
    command.append(str(small_preset().folder))
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    assert list(killed.stage(number).glob(".state.safetensors.*.part")), "half of the third state"
    read_weights(killed.stage(number) / "state.safetensors")
    said: list[str] = []
    assert train(killed, number, notify=said.append).resumed
    assert any("after step 2 (epoch 1)" in each for each in said)
    assert model(killed, number) == model(whole, number)
    assert not list(killed.stage(number).glob(".*.part"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_named_and_the_state_before_is_kept(workspace, whole, monkeypatch):
    stage = workspace.stage(1)
    stop_after_a_step(workspace, 1, monkeypatch)
    size = (stage / "state.safetensors").stat().st_size
    shutil.rmtree(stage)
    stage.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size * 7 // 4}", "tmpfs", str(stage)]  # one state, not quite two
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this root may not mount a small disk")
    try:
        monkeypatch.setattr(clock, "SAVE_EVERY", 0.0)
        monkeypatch.setattr(clock, "SAVE_SHARE", float("inf"))
        with pytest.raises(MedvqaError, match=r"cannot write .*state\.safetensors: the disk at .*stage1 is full\n"):
            train(workspace, 1)
        read_weights(stage / "state.safetensors")
        assert not list(stage.glob(".*.part"))
        subprocess.run(["mount", "-o", "remount,size=200m", str(stage)], check=True)
        assert train(workspace, 1).resumed
        assert model(workspace, 1) == model(whole, 1)
    finally:
        subprocess.run(["umount", str(stage)], check=True)


def test_an_unfinished_run_of_other_data_weights_or_options_is_not_resumed(workspace, monkeypatch, tmp_path):
    stop_after_a_step(workspace, 1, monkeypatch)
    path, dataset = workspace.development / "gt.json", read_dataset(workspace.development, cache=None)
    split = make_split(dataset, val=0.25, cache=None)
    records = json.loads(path.read_text())
    label = records[0]["Labels"][3]
    label["Answer"] = ["No"] if label["Answer"] == ["Yes"] else ["Yes"]
    path.write_text(json.dumps(records))
    with pytest.raises(MedvqaError, match=r"has changed since .*split\.json was made"):
        train(workspace, 1)
    changed = read_dataset(workspace.development, cache=None)
    split.model_copy(update={"fingerprint": changed.fingerprint}).write(workspace.split_file)
    other = shutil.copytree(small_preset().folder, tmp_path / "weights")
    tensors = {name: tensor.copy() for name, tensor in read_weights(other / "projection.safetensors").items()}
    tensors["bias"] += 1.0
    save_weights(other / "projection.safetensors", tensors)
    recipe = SHORT[1].model_copy(update={"ema": 0.25})
    with pytest.raises(MedvqaError) as raised:
        finetune(workspace, replace(small_preset(), weights=other), recipe, 1, seed=3, notify=print)
    told = str(raised.value)
    assert "the unfinished run in work/main/stage1 was started from something else:" in told
    assert "recipe.ema: 0.0 there, 0.25 here" in told
    assert "seed: 0 there, 3 here" in told
    assert "weights.projection.safetensors: " in told
    assert "\ndata: " in told
    assert told.endswith("give the same options and data to resume it, or --fresh to start over")


def test_a_batch_computed_in_parts_has_the_losses_of_the_whole_batch(workspace, whole):
    train(workspace, 2, SHORT[2].model_copy(update={"accumulate": 3}), fresh=True)
    for parts, at_once in zip(epochs(workspace, 2), epochs(whole, 2), strict=True):
        assert parts["answers"] == pytest.approx(at_once["answers"], abs=1e-5)
        assert parts["val_answers"] == pytest.approx(at_once["val_answers"], abs=1e-4)


def test_cached_features_change_no_loss(workspace, whole):
    train(workspace, 1, SHORT[1].model_copy(update={"cache_features": False}), fresh=True)
    for each_time, kept in zip(epochs(workspace, 1), epochs(whole, 1), strict=True):
        for name in ("itc", "itm", "itg"):
            assert each_time[name] == pytest.approx(kept[name], abs=1e-4)


def test_runs_are_listed_with_their_best_scores_without_paddle(workspace, monkeypatch):
    stop_after_a_step(Workspace.at(workspace.root, "main"), 1, monkeypatch)
    (workspace.root / "work" / "broken" / "stage2").mkdir(parents=True)
    (workspace.root / "work" / "broken" / "stage2" / "config.json").write_text("{}")
    code = (
        "import sys; sys.modules['paddle'] = sys.modules['paddlenlp'] = None\n"
        "from imageclef_vqa.cli import main; sys.argv[0] = 'medvqa'; main()"
    )

    def listed(*options):
        command = [sys.executable, "-c", code, "runs", "--workspace", str(workspace.root), *options]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done

    broken, run = json.loads(listed("--json").stdout)["runs"]
    assert (broken["run"], run["run"]) == ("broken", "main")
    assert "stage2/config.json is damaged" in broken["faults"][0]
    first, second = run["stages"]
    assert (first["finished"], first["epoch"], first["steps"], first["best"]) == (False, 0, 1, None)
    assert (second["finished"], second["epoch"], second["epochs"], second["preset"]) == (True, 2, 2, "folder")
    best = max(each["score"] for each in epochs(workspace, 2))
    assert second["best"] == pytest.approx(best)
    done = listed()
    assert "0 of 2" in done.stdout
    assert f"exact {best:.3f}" in done.stdout
    assert "config.json is damaged" in done.stderr


@pytest.mark.parametrize("number", [1, 2])
def test_a_stage_leaves_its_curves_to_look_at(whole, number):
    with Image.open(whole.stage(number) / "loss.png") as picture:
        width, height = picture.size
        colours = picture.convert("RGB").getcolors(2**20)
    panels = 3 if number == 1 else 2  # losses; and exact sets
    assert width / height == pytest.approx(panels * 3.6 / 3.2, rel=0.02)
    seen = {colour for _, colour in colours}
    assert {(11, 114, 133), (179, 92, 0)} <= seen, "training and validation"
    assert np.mean([count for count, colour in colours if colour == (255, 255, 255)]) > 0
