"""A finished stage is the one that was finished, is replaced only when asked, and only by a finished one.

Training itself is left out: a stand-in saves a state and returns the weights that the stage started from, shifted.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imageclef_vqa.artefacts import ChangedError, read_record
from imageclef_vqa.checkpoints.layers import read_weights
from imageclef_vqa.data import make_split, read_dataset
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inputs import sha256
from imageclef_vqa.locks import run_writer, sole_writer
from imageclef_vqa.models.presets import TINY_WEIGHTS, find_preset
from imageclef_vqa.pipeline.finetune import finetune_stage
from imageclef_vqa.pipeline.split import split
from imageclef_vqa.synthetic import write_synthetic_dataset
from imageclef_vqa.training import replacement
from imageclef_vqa.training.checkpoint import Stage
from imageclef_vqa.training.recipe import Recipe
from imageclef_vqa.training.state import TrainerState, TrainingFolder
from imageclef_vqa.workspace import Workspace

TINY = find_preset("tiny")
RECIPE = Recipe(epochs=2, batch=8, freeze_vision=True, cache_features=False)
OTHER = RECIPE.model_copy(update={"epochs": 3})


class Trainer:
    """Stands in for the training of both stages; `during` is called after the state was saved."""

    def __init__(self) -> None:
        self.shift = 0.0
        self.during: Callable[[], None] = lambda: None

    def __call__(self, context: Any, *_heads: Any) -> dict[str, np.ndarray]:
        context.stage.save_state({"weight": np.ones(4, "float32")}, TrainerState(epoch=1, total=2))
        self.during()
        tensors = context.model.state_dict()
        kept = [name for name in tensors if name.startswith(("qformer.", "projection.", "vision.norm."))]
        if _heads:
            kept = [name for name in kept if name.startswith(("qformer.", "vision.norm."))]
        return {name: tensors[name].numpy() + np.float32(self.shift) for name in kept}


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    trainer = Trainer()
    for name in ("learn_representation", "learn_to_answer"):
        monkeypatch.setattr(f"imageclef_vqa.training.finetune.{name}", trainer)
    return trainer


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with both stages finished."""
    folder = tmp_path_factory.mktemp("finished")
    write_synthetic_dataset(folder / "data", images=12, test=1, seed=5)
    workspace = Workspace.at(folder)
    dataset = read_dataset(workspace.development, cache=workspace.cache)
    make_split(dataset, val=0.25, cache=workspace.cache).write(workspace.split_file)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("learn_representation", "learn_to_answer"):
            patch.setattr(f"imageclef_vqa.training.finetune.{name}", Trainer())
        for number in (1, 2):
            train(workspace, number)
    return folder


@pytest.fixture
def workspace(finished: Path, tmp_path: Path, trainer: Trainer) -> Workspace:
    """A copy of it; what is trained there has other weights."""
    trainer.shift = 1.0
    return Workspace.at(shutil.copytree(finished, tmp_path / "w"))


def train(workspace: Workspace, number: int, recipe: Recipe = RECIPE, notify: Any = print, **options: Any) -> Any:
    return finetune_stage(workspace, TINY, recipe, number, seed=0, notify=notify, **options)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def flip(path: Path, place: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 4
    path.write_bytes(data)


@contextlib.contextmanager
def refused(message: str) -> Iterator[None]:
    with pytest.raises(MedvqaError) as raised:
        yield
    assert re.search(message, str(raised.value)), raised.value


def leftovers(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in workspace.run_folder.iterdir() if "2-" in path.name)


def test_a_finished_stage_has_a_record_of_all_that_it_was_made_from(workspace):
    first, second = (read_record(workspace.stage(number)) for number in (1, 2))
    assert first
    assert second
    assert second.command == "finetune --stage 2"
    assert set(second.files) == {"model.safetensors", "config.json", "vocabulary.json"}
    assert second.inputs["stage1"] == first.digest
    assert second.inputs["split"] == sha256(workspace.split_file)
    assert second.inputs["development"] == read_dataset(workspace.development, cache=None).fingerprint
    weights = {path.name: sha256(path) for path in TINY_WEIGHTS.iterdir() if path.suffix != ".txt"}
    assert {n.removeprefix("weights/"): h for n, h in second.inputs.items() if n.startswith("weights/")} == weights
    assert set(first.inputs) == set(second.inputs) - {"stage1"}


def test_the_same_command_on_a_finished_stage_does_nothing(workspace):
    before = content(workspace.stage(2))
    assert not train(workspace, 2).trained
    assert content(workspace.stage(2)) == before


def test_stage_2_says_what_it_starts_from_and_records_it(workspace):
    told: list[str] = []
    train(workspace, 2, fresh=True, notify=told.append)
    first = read_record(workspace.stage(1))
    assert f"it starts from work/main/stage1, record {first.digest[:12]}" in told
    shutil.rmtree(workspace.stage(1))
    with refused(rf"stage2 is finished and was .*\nstage1: {first.digest} there, None here"):
        train(workspace, 2)
    train(workspace, 2, fresh=True, notify=told.append)
    assert "it starts from the weights of tiny: work/main/stage1 is missing, which is optional" in told
    assert "stage1" not in read_record(workspace.stage(2)).inputs
    train(workspace, 1, notify=told.append)
    assert "stage 1 is optional for tiny: stage 2 starts from it if it is finished, or without it" in told


def test_a_finished_stage_is_not_replaced_unasked_and_both_commands_are_named(workspace):
    before = content(workspace.stage(2))
    root = workspace.root
    with refused(
        r"work/main/stage2 is finished and was trained from something else:\nrecipe\.epochs: 2 there, 3 here\n"
        rf"with the same options, `medvqa finetune --stage 2 --workspace {root} --fresh` replaces it and "
        rf"`medvqa finetune --stage 2 --run NAME --workspace {root}` keeps it$"
    ):
        train(workspace, 2, OTHER)
    assert content(workspace.stage(2)) == before


def test_stage_2_is_not_trained_any_more_when_stage_1_was_trained_again(workspace):
    train(workspace, 1, fresh=True)
    with refused(r"work/main/stage2 is finished and was .*\nstage1: \w{64} there, \w{64} here\n.*--fresh` replaces it"):
        train(workspace, 2)


def test_an_interrupted_fresh_training_leaves_the_old_model_bit_for_bit_and_is_resumed(workspace, trainer):
    before = content(workspace.stage(2))
    trainer.during = interrupt
    with pytest.raises(KeyboardInterrupt):
        train(workspace, 2, OTHER, fresh=True)
    assert content(workspace.stage(2)) == before
    told: list[str] = []
    assert not train(workspace, 2, notify=told.append).trained
    assert "work/main/stage2-fresh holds an unfinished --fresh run" in told[0]
    trainer.during = lambda: None
    done = train(workspace, 2, OTHER, notify=told.append)
    assert (done.resumed, done.folder) == (True, workspace.stage(2))
    assert "resuming the unfinished run in work/main/stage2-fresh, after step 2 (epoch 2)" in told[1]
    assert Stage(workspace, 2).config().recipe.epochs == 3
    assert content(workspace.stage(2))["model.safetensors"] != before["model.safetensors"]
    assert leftovers(workspace) == []


def test_an_interrupted_fresh_training_is_started_over_with_fresh(workspace, trainer):
    trainer.during = interrupt
    with pytest.raises(KeyboardInterrupt):
        train(workspace, 2, OTHER, fresh=True)
    trainer.during = lambda: None
    assert not train(workspace, 2, RECIPE.model_copy(update={"epochs": 4}), fresh=True).resumed
    assert Stage(workspace, 2).config().recipe.epochs == 4
    assert leftovers(workspace) == []


@pytest.mark.parametrize("rename", [1, 2])
def test_a_process_killed_before_either_rename_leaves_a_finished_stage(workspace, monkeypatch, rename):
    names = {1: "stage2", 2: "stage2-fresh"}
    original = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if self.name == names[rename]:
            raise KeyboardInterrupt
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            train(workspace, 2, OTHER, fresh=True)
    assert workspace.stage(2).exists() == (rename == 1)
    assert Stage(workspace, 2).config().recipe.epochs == (2 if rename == 1 else 3)  # the next look
    assert not train(workspace, 2, OTHER).trained
    assert Stage(workspace, 2).config().recipe.epochs == 3
    assert leftovers(workspace) == []
    assert [path for path in workspace.run_folder.iterdir() if "replaced" in path.name] == []


def test_two_readers_may_recover_a_stage_at_once(tmp_path, monkeypatch):
    new = tmp_path / "stage2-fresh"
    new.mkdir()
    (new / "record.json").touch()
    monkeypatch.setattr(Path, "rename", lambda self, target: os.rename(self, target) or os.rename(self, target))
    replacement.recover(tmp_path / "stage2")
    assert [path.name for path in tmp_path.iterdir()] == ["stage2"]


def test_a_model_of_a_version_that_kept_no_records_is_told_apart(workspace):
    (workspace.stage(2) / "record.json").unlink()
    remedy = rf"\n`medvqa finetune --stage 2 --workspace {workspace.root} --fresh` trains it again$"
    message = rf"^work/main/stage2 was made by a version that kept no records, so it cannot be checked{remedy}"
    for use in (Stage(workspace, 2).trained, Stage(workspace, 2).vocabulary, lambda: train(workspace, 2)):
        with refused(message):
            use()
    assert train(workspace, 2, fresh=True).trained
    Stage(workspace, 2).check()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "vocabulary.json"])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.999])
def test_a_flipped_bit_of_a_finished_stage_is_refused_by_name(workspace, name, place):
    for number in (1, 2):
        flip(workspace.stage(number) / name, place)
    message = rf"work/main/stage2/{name} is not the file that was finished: .*\n`medvqa .*--fresh` trains it again"
    for read in (Stage.trained, Stage.config, Stage.vocabulary):
        with pytest.raises(ChangedError, match=message):
            read(Stage(workspace, 2))
    with refused(rf"work/main/stage1/{name} is not the file that was finished"):
        train(workspace, 2)


def test_a_damaged_finished_stage_is_trained_again_with_fresh(workspace):
    flip(workspace.stage(2) / "model.safetensors", 0.5)
    assert train(workspace, 2, fresh=True).trained
    Stage(workspace, 2).check()


@pytest.mark.parametrize("place", [0.001, 0.3, 0.6, 0.999])
def test_a_flipped_bit_of_a_saved_state_is_refused(tmp_path, place):
    folder = TrainingFolder(tmp_path, "work/main/stage1")
    folder.save_state({"a": np.ones(300, "float32"), "b": np.zeros((2, 0), "int64")}, TrainerState(epoch=1))
    assert folder.load_state(2)[1].epoch == 1
    flip(tmp_path / "state.safetensors", place)
    with refused(r"state\.safetensors(.*\n)+--fresh starts over"):
        folder.load_state(2)


def test_flipped_weights_of_the_best_epoch_are_refused(tmp_path):
    folder = TrainingFolder(tmp_path, "work/main/stage1")
    folder.save_best({"a": np.ones(300, "float32")})
    flip(tmp_path / "best.safetensors", 0.9)
    with refused(r"best\.safetensors is damaged: its content is not what was saved\n--fresh starts over"):
        folder.load_best({})


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"epoch": 999}, "is no state to resume from: epoch 999 of 2"),
        ({"epoch": -1}, "is no state to resume from: epoch: Input should be greater than or equal to 0"),
        ({"step": -5}, "is no state to resume from: step: Input should be greater than or equal to 0"),
    ],
)
def test_a_position_that_cannot_be_is_refused_and_not_taken_for_finished(workspace, trainer, state, message):
    shutil.rmtree(workspace.stage(2))
    trainer.during = interrupt
    with pytest.raises(KeyboardInterrupt):
        train(workspace, 2)
    Stage(workspace, 2).save_state({"weight": np.ones(4, "float32")}, TrainerState.model_construct(**state))
    with refused(rf"{message}\n--fresh starts over"):
        train(workspace, 2)
    assert not Stage(workspace, 2).finished


def test_a_vocabulary_that_changed_in_an_unfinished_stage_is_written_again(workspace, trainer):
    vocabulary = content(workspace.stage(2))["vocabulary.json"]
    shutil.rmtree(workspace.stage(2))
    trainer.during = interrupt
    with pytest.raises(KeyboardInterrupt):
        train(workspace, 2)
    flip(workspace.stage(2) / "vocabulary.json", 0.5)
    trainer.during = lambda: None
    assert train(workspace, 2).resumed
    assert content(workspace.stage(2))["vocabulary.json"] == vocabulary


def test_a_split_that_changes_while_a_stage_is_trained_is_an_error_that_keeps_the_state(workspace, trainer):
    shutil.rmtree(workspace.stage(2))
    before = workspace.split_file.read_bytes()
    trainer.during = lambda: workspace.split_file.write_bytes(before.replace(b"\n", b" \n", 1))
    with refused(
        r"work/split\.json: the split changed while work/main/stage2 was trained\n"
        r"restore it, and the same command finishes the stage; --fresh trains it on the new split"
    ):
        train(workspace, 2)
    assert not Stage(workspace, 2).finished
    assert Stage(workspace, 2).unfinished
    workspace.split_file.write_bytes(before)
    trainer.during = lambda: None
    assert train(workspace, 2).resumed
    assert Stage(workspace, 2).finished


def test_split_and_finetune_exclude_each_other_but_two_runs_do_not(workspace, trainer):
    before = workspace.split_file.read_bytes()
    with run_writer(workspace.run_folder):
        with refused(rf"work is being written by process {os.getpid()}\nwait until it ends$"):
            split(workspace.root, val=0.5)
        with run_writer(Workspace.at(workspace.root, "other").run_folder):
            pass
        with refused(rf"main is being written by process {os.getpid()}\n.*--run"):
            train(workspace, 2)
    assert workspace.split_file.read_bytes() == before
    with sole_writer(workspace.work), refused("work is being written by process"):
        train(workspace, 2)
    split(workspace.root, val=0.25)


def test_stage_2_does_not_start_from_a_stage_1_of_another_data_set_or_split(workspace):
    shutil.rmtree(workspace.stage(2))
    split(workspace.root, val=0.25, seed=3)
    with refused(r"work/main/stage1 was trained on another split than work/split\.json\n`medvqa .*1 .*--fresh` trains"):
        train(workspace, 2)
    train(workspace, 1, fresh=True)
    assert train(workspace, 2).trained
    assert read_weights(workspace.stage(1) / "model.safetensors")
