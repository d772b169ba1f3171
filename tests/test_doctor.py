"""`medvqa doctor` finds what would stop a run."""

import json
import os
import shutil

import pytest
from typer.testing import CliRunner

from imageclef_vqa import ascend
from imageclef_vqa.cli import app
from imageclef_vqa.doctor import devices, machine, software
from imageclef_vqa.doctor.check import Check
from imageclef_vqa.workspace import Workspace


def doctor(*words):
    return CliRunner().invoke(app, ["doctor", *words])


def test_this_machine_can_train_on_its_processor(tmp_path):
    result = doctor("--device", "cpu", "--workspace", str(tmp_path), "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    found = {check["name"]: check for check in told["checks"]}
    assert told["stops"] == []
    assert found["cpu"]["figures"]["gflops"] > 0
    assert found["cpu"]["figures"]["on_the_cpu"] == []
    assert found["cpu collective"]["figures"]["processes"] == 2
    assert found["data"]["verdict"] == "note"


def test_an_npu_that_is_not_there_stops_a_run(tmp_path, monkeypatch):
    monkeypatch.delenv("CUSTOM_DEVICE_ROOT", raising=False)
    monkeypatch.setattr(devices, "_probe", lambda *_words: {"devices": ["cpu"], "paddle": "3.1.0"})
    result = doctor("--device", "npu", "--workspace", str(tmp_path))
    assert result.exit_code == 1
    assert "STOP NPU plug-in" in result.stdout
    assert "no npu; Paddle 3.1.0 reports: cpu" in result.stdout
    assert result.stdout.endswith("would stop a run: NPU plug-in, devices\n")


@pytest.mark.parametrize(
    ("versions", "verdict", "said"),
    [
        ({"paddle-custom-npu": "3.0.0", "paddlepaddle": "3.1.0"}, "stop", "paddle-custom-npu 3.0.0, but Paddle 3.1.0"),
        ({"paddle-custom-npu": "3.0.0.dev1", "paddlepaddle": "3.0.1"}, "good", "paddle-custom-npu 3.0.0.dev1 for"),
        ({"paddlepaddle": "3.0.1"}, "stop", "no paddle-custom-npu; Paddle is 3.0.1"),
    ],
)
def test_the_plug_in_must_be_the_one_for_this_paddle(monkeypatch, versions, verdict, said):
    monkeypatch.delenv("CUSTOM_DEVICE_ROOT", raising=False)
    monkeypatch.setattr(software, "_version", versions.get)
    check = next(software.check_ascend(wanted=True))
    assert (check.name, check.verdict) == ("NPU plug-in", verdict)
    assert said in check.found


@pytest.mark.parametrize(("have", "said"), [("9.9", "9.9, supported"), (None, "not installed")])
def test_a_package_that_does_not_fit_is_named_with_what_mends_it(monkeypatch, have, said):
    real = software._version
    monkeypatch.setattr(software, "_version", lambda name: have if name == "paddlenlp" else real(name))
    bad = [check for check in software.check_packages() if check.verdict == "stop"]
    assert [check.name for check in bad] == ["paddlenlp"]
    assert said in bad[0].found
    assert bad[0].remedy == "pip install 'paddlenlp==2.8.1'"


@pytest.mark.parametrize(("free", "verdict"), [(2**29, "stop"), (2**33, "note"), (2**40, "good")])
def test_little_room_on_the_disk_is_said(tmp_path, monkeypatch, free, verdict):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**41, 2**41 - free, free))
    assert machine.check_disk(Workspace.at(tmp_path / "not there yet")).verdict == verdict


def test_a_data_set_that_cannot_be_read_stops_a_run(tmp_path):
    (tmp_path / "data/development").mkdir(parents=True)
    check = machine.check_data(Workspace.at(tmp_path))
    assert check.verdict == "stop"
    assert "images: there is no such folder" in check.found


@pytest.mark.parametrize(
    ("wanted", "tried"),
    [
        (None, ["cpu", "gpu:1", "gpu:10", "cpu collective", "gpu collective"]),
        ("gpu", ["gpu:1", "gpu:10", "gpu collective"]),
        ("gpu:1", ["gpu:1", "gpu collective"]),
        ("gpu:2", ["devices"]),
    ],
)
def test_the_device_that_is_named_is_tried_and_no_other(monkeypatch, wanted, tried):
    there = {"devices": ["cpu", "gpu:1", "gpu:10"], "paddle": "3"}
    monkeypatch.setattr(ascend, "plugin", lambda: None)
    monkeypatch.setattr(
        devices, "_probe", lambda what, *_words, **_environment: there if what == "list" else {"error": "none"}
    )
    assert [check.name for check in devices.check_devices(wanted)] == tried


def test_a_plug_in_that_brings_no_device_would_stop_a_run(monkeypatch, tmp_path):
    monkeypatch.setattr(ascend, "plugin", lambda: tmp_path)
    monkeypatch.setattr(devices, "_probe", lambda *_words, **_environment: {"devices": [], "paddle": "3.1.0"})
    assert [(check.name, check.verdict) for check in devices.check_devices(None)] == [("devices", "stop")]


def test_a_device_that_dies_is_an_answer_and_no_traceback(monkeypatch):
    told = {"list": {"devices": ["cpu", "gpu:0"], "paddle": "3"}, "compute": {"error": "CUDA error 35"}}
    monkeypatch.setattr(devices, "_probe", lambda what, *_words, **_environment: told[what])
    assert next(devices.check_devices("gpu")) == Check(
        "gpu:0", "stop", "CUDA error 35", "the device exists, but cannot be used: see its driver's log"
    )


@pytest.mark.parametrize(("told", "verdict"), [("many", "good"), ("1000", "good"), ("1", "note")])
def test_threads_that_the_environment_cannot_mean_are_those_of_the_cores(monkeypatch, told, verdict):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setenv("MKL_NUM_THREADS", told)
    found = machine.check_processor()
    assert found.verdict == verdict
    assert f"{1 if told == '1' else 2} of 2 threads" in found.found
