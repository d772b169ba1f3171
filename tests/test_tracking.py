"""`finetune --track` sends the numbers of a stage's log on; without it nothing is sent."""

import sys
from types import SimpleNamespace

import pytest

from imageclef_vqa.errors import UsageError
from imageclef_vqa.training.log import Log
from imageclef_vqa.training.tracking import check_service, open_tracker

LINES = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25, "epoch": 1}]
SENT = [("step/loss", 0.5, 1), ("epoch/loss", 0.25, 2)]


def logged(tmp_path, tracker):
    log = Log(tmp_path / "log.jsonl")
    log.tracker = tracker
    for line in LINES:
        log.add(line)
    return log


def test_every_number_is_sent_with_its_step(tmp_path):
    sent = []
    logged(tmp_path, lambda *number: sent.append(number))
    assert sent == SENT


def test_a_resumed_stage_sends_again_what_it_keeps(tmp_path):
    log, sent = logged(tmp_path, None), []
    log.tracker = lambda *number: sent.append(number)
    log.resume(step=1, epochs=0)
    assert sent == SENT[:1]


@pytest.mark.parametrize("service", ["wandb", "swanlab"])
def test_a_service_gets_a_new_experiment_with_the_runs_name(tmp_path, monkeypatch, service):
    begun, sent = [], []
    experiment = SimpleNamespace(
        log=lambda numbers, step: sent.append((*next(iter(numbers.items())), step)),
        finish=lambda: sent.append("finished"),
    )
    fake = SimpleNamespace(init=lambda **options: begun.append(options) or experiment)
    monkeypatch.setitem(sys.modules, service, fake)
    with open_tracker(service, tmp_path, "main-stage2") as tracker:
        logged(tmp_path, tracker)
    assert "main-stage2" in begun[0].values()
    assert sent == [*SENT, "finished"]


def test_visualdl_writes_beneath_the_run_and_nothing_else_does(tmp_path):
    with open_tracker("visualdl", tmp_path, "main-stage2") as tracker:
        logged(tmp_path, tracker)
    [file] = (tmp_path / "visualdl/main-stage2").iterdir()
    assert all(name.encode() in file.read_bytes() for name, _, _ in SENT)
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "visualdl"}


def test_a_service_that_is_not_installed_is_named_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match="pip install wandb"):
        check_service("wandb")
