"""`medvqa doctor` finds what would stop a run."""

import json
import os
import shutil
import subprocess

import pytest
from typer.testing import CliRunner

from imageclef_vqa import ascend
from imageclef_vqa.cli import app
from imageclef_vqa.doctor import ascend_software, devices, machine, software
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
    monkeypatch.setattr(ascend_software, "installed_version", versions.get)
    check = next(ascend_software.check_ascend(wanted=True))
    assert (check.name, check.verdict) == ("NPU plug-in", verdict)
    assert said in check.found


@pytest.mark.parametrize(("have", "said"), [("9.9", "9.9, supported"), (None, "not installed")])
def test_a_package_that_does_not_fit_is_named_with_what_mends_it(monkeypatch, have, said):
    real = software.installed_version
    monkeypatch.setattr(software, "installed_version", lambda name: have if name == "paddlenlp" else real(name))
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


# Paddle's log, as users have posted it; the second Paddle is built for another cuDNN than pip installs beside it.
LOADED = (
    "W1114 22:57:32.420543 32 gpu_resources.cc:119] Please NOTE: device: 0, GPU Compute Capability: 8.6, Driver API "
    "Version: {}, Runtime API Version: {}\n"
    "W1114 22:57:32.436527 32 gpu_resources.cc:164] device: 0, cuDNN Version: {}.\n"
)


@pytest.mark.parametrize(
    ("built", "loaded", "verdicts"),
    [
        (("11.2", "8.1.1"), ("11.2", "11.1", "8.0"), {"CUDA": "good", "cuDNN": "note"}),
        (("12.6", "9.9.0"), ("12.4", "12.6", "9.5"), {"CUDA": "note", "cuDNN": "note"}),
        (("12.6", "9.5.1"), ("13.0", "12.6", "9.5"), {"CUDA": "good", "cuDNN": "good"}),
        (("12.6", "9.5.1"), ("11.4", "11.8", "8.9"), {"CUDA": "stop", "cuDNN": "stop"}),
        (("12.10", "9.5.1"), ("12.9", "12.10", "9.10"), {"CUDA": "note", "cuDNN": "good"}),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_cuda_and_cudnn_are_compared_with_those_that_paddle_is_built_for(monkeypatch, built, loaded, verdicts, fails):
    listed = json.dumps({"devices": ["cpu", "gpu:0"], "paddle": "3", "cuda": built[0], "cudnn": built[1]})

    def probed(command, **_options):
        if "list" in command:
            return subprocess.CompletedProcess(command, 0, listed, "")
        figures = {"gflops": 1.0, "precision": "fp32", "forward_ms": 1, "step_ms": 1, "memory_mb": 0}
        return subprocess.CompletedProcess(command, int(fails), json.dumps(figures), LOADED.format(*loaded))

    monkeypatch.setattr(devices.subprocess, "run", probed)
    monkeypatch.setattr(ascend, "plugin", lambda: None)
    found = {check.name: check for check in devices.check_devices("gpu")}
    assert {name: found[name].verdict for name in verdicts} == verdicts
    assert found["gpu:0"].verdict == ("stop" if fails else "good")
    assert f"built for {built[0]}, the driver supports up to {loaded[0]}" in found["CUDA"].found
    if verdicts["cuDNN"] != "good":
        fitting = ".".join(built[1].split(".")[:2])
        assert f"nvidia-cudnn-cu{built[0].split('.')[0]}=={fitting}.*" in found["cuDNN"].remedy


@pytest.mark.parametrize(("told", "verdict"), [("many", "good"), ("1000", "good"), ("1", "note")])
def test_threads_that_the_environment_cannot_mean_are_those_of_the_cores(monkeypatch, told, verdict):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setenv("MKL_NUM_THREADS", told)
    found = machine.check_processor()
    assert found.verdict == verdict
    assert f"{1 if told == '1' else 2} of 2 threads" in found.found


class Wheel:
    """The plug-in as pip installed it."""

    requires = ("numpy==1.26.4",)

    def read_text(self, name):
        return {"WHEEL": "Wheel-Version: 1.0\nTag: cp38-cp38-linux_aarch64\n"}.get(name)


def ascend_checks(monkeypatch, **versions):
    installed = {"paddle-custom-npu": "3.3.0", "paddlepaddle": "3.3.1"} | versions
    monkeypatch.delenv("CUSTOM_DEVICE_ROOT", raising=False)
    monkeypatch.setattr(ascend_software, "installed_version", installed.get)
    monkeypatch.setattr(ascend_software, "distribution", lambda name: Wheel())
    return {check.name: check for check in ascend_software.check_ascend(wanted=True)}


def test_a_plug_in_for_another_python_stops_a_run(monkeypatch):
    check = ascend_checks(monkeypatch)["NPU plug-in's Python"]
    assert (check.verdict, check.remedy) == ("stop", "make a virtual environment with Python 3.8")


@pytest.mark.parametrize(("have", "stops"), [("2.4.0", True), ("1.26.4", False)])
def test_a_numpy_that_the_plug_in_does_not_take_stops_a_run(monkeypatch, have, stops):
    found = ascend_checks(monkeypatch, numpy=have)
    assert ("NPU plug-in's NumPy" in found) == stops
    if stops:
        assert found["NPU plug-in's NumPy"].remedy == "pip install 'numpy==1.26.4'"


@pytest.mark.parametrize(
    ("line", "verdict"),
    [("runtime_running_version=[7.5.0.1.129:8.5.1]", "stop"), ("runtime_running_version=[7.5.0.1.129:8.0.0]", "good")],
)
def test_cann_newer_than_the_plug_in_stops_a_run(monkeypatch, tmp_path, line, verdict):
    (tmp_path / "version.cfg").write_text(f"# version: 1.0\n{line}\n", encoding="utf-8")
    monkeypatch.setenv("ASCEND_TOOLKIT_HOME", str(tmp_path))
    check = ascend_checks(monkeypatch)["CANN"]
    assert check.verdict == verdict, check
    assert (check.remedy or "").startswith("install CANN 8.0") == (verdict == "stop")


def test_a_custom_device_root_without_a_library_stops_a_run(monkeypatch, tmp_path):
    monkeypatch.setattr(ascend_software, "installed_version", {"paddlepaddle": "3.3.1"}.get)
    monkeypatch.setenv("CUSTOM_DEVICE_ROOT", str(tmp_path))
    check = next(ascend_software.check_ascend(wanted=True))
    assert (check.verdict, check.remedy) == ("stop", "unset it, or correct it")


@pytest.mark.parametrize(
    ("name", "memory", "paddle", "verdict"),
    [
        ("910A", 32768, "3.3.1", "stop"),
        ("910ProB", 32768, "3.3.1", "good"),
        ("310P3", 21527, "3.3.1", "stop"),
        ("910A", 32768, "2.6.1", "good"),
        ("910B2", 65536, "3.3.1", "good"),
        ("910", 65536, "3.3.1", "good"),
    ],
)
def test_cards_that_paddle_no_longer_supports_stop_a_run(monkeypatch, name, memory, paddle, verdict):
    monkeypatch.setattr(ascend, "cards", lambda: [ascend.Card(name, memory)])
    assert ascend_checks(monkeypatch, paddlepaddle=paddle)["Ascend cards"].verdict == verdict


# Lines that users have posted, without their paths' owners.
RECORDED = [
    (
        "ImportError: /lib/aarch64-linux-gnu/libgomp.so.1: cannot allocate memory in static TLS block",
        "LD_PRELOAD=/lib/",
    ),
    ("OSError: (External) ACL error, the error code is : 507033. (at /paddle/backends/npu/runtime.cc:216)", "23.0.3"),
    (
        "ValueError: (InvalidArgument) Fail to open library: /x/libpaddle-custom-npu.so with error: "
        "/usr/local/Ascend/nnal/atb/latest/atb/cxx_abi_1/lib/libtbe_adapter.so: undefined symbol: _ZN3Mki2DlC1E",
        "install CANN 8.0",
    ),
    ("ImportError: libascendcl.so: cannot open shared object file: No such file or directory", "set_env.sh"),
    ("A module that was compiled using NumPy 1.x cannot be run in NumPy 2.0.1", "numpy==1.26.4"),
    (
        "OSError: (External) CUDA error(35), CUDA driver version is insufficient for CUDA runtime version.",
        "NVIDIA driver",
    ),
    ("RuntimeError: libcudnn.so.9: cannot open shared object file", "cuDNN"),
]


@pytest.mark.parametrize(("message", "remedy"), RECORDED)
def test_an_error_that_others_have_had_comes_with_its_remedy(monkeypatch, message, remedy):
    failed = subprocess.CompletedProcess([], 1, "", f"Traceback (most recent call last):\n{message}\n")
    monkeypatch.setattr(devices.subprocess, "run", lambda *_words, **_options: failed)
    monkeypatch.setattr(ascend, "plugin", lambda: None)
    check = next(devices.check_devices(None))
    assert check.verdict == "stop"
    assert remedy in check.remedy
