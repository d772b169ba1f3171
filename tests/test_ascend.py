"""An Ascend user's code path, on a stand-in that registers the device type `npu` with host memory."""

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings

import pytest
import standin

from imageclef_vqa import ascend
from imageclef_vqa.data.synthetic import write_synthetic_dataset

TRAIN = ("finetune --stage 1 --epochs 1 --device {0}", "finetune --stage 2 --epochs 2 --device {0}")
CHAIN = ("split --val 0.2", *TRAIN, "predict --device {0}", "route", "score", "package --out {1}/run.csv")
# One process for all: most of a command's time here is Paddle's import.
PROGRAM = """
import sys
from imageclef_vqa.cli import main
for line in sys.stdin.read().splitlines():
    sys.argv = ["medvqa", *line.split()]
    try:
        main()
    except SystemExit as done:
        if done.code:
            raise
"""


@pytest.fixture(scope="session")
def plugin(request):
    try:
        return standin.build(request.config.cache.mkdir("standin"))
    except FileNotFoundError:
        warnings.warn("NO C++ COMPILER: nothing of the NPU's code path is tested", stacklevel=1)
        pytest.skip("no g++")


def medvqa(lines, folder, program=PROGRAM, **environment):
    """Run commands in one process."""
    settings = os.environ | {"GLOG_minloglevel": "2"} | {name: str(value) for name, value in environment.items()}
    text = "\n".join(f"{line} --workspace {folder}" for line in lines)
    return subprocess.run([sys.executable, "-c", program], input=text, capture_output=True, text=True, env=settings)


def chain(folder, device, lines=CHAIN, **environment):
    write_synthetic_dataset(folder / "data", images=40, test=6, seed=11)
    done = medvqa([line.format(device, folder) for line in lines], folder, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory):
    return chain(tmp_path_factory.mktemp("cpu"), "cpu")


@pytest.fixture(scope="module")
def on_npu(tmp_path_factory, plugin):
    """The chain on a device whose memory the host cannot read: whatever touches it directly dies."""
    return chain(tmp_path_factory.mktemp("npu"), "npu", CUSTOM_DEVICE_ROOT=plugin, MEDVQA_STANDIN_UNREADABLE=1)


def losses(folder, stage):
    """The numbers of each step and of each epoch's end, without the time they took."""
    lines = (folder / f"work/main/stage{stage}/log.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    numbers = [{name: each[name] for name in each if isinstance(each[name], float)} for each in records]
    return [{name: each[name] for name in each if name != "seconds"} for each in numbers]


@pytest.mark.parametrize("stage", [1, 2])
def test_losses_on_the_npu_are_those_of_the_cpu(on_cpu, on_npu, stage):
    expected = losses(on_cpu, stage)
    assert expected
    for epoch, there in zip(losses(on_npu, stage), expected, strict=True):
        assert epoch == pytest.approx(there, abs=1e-5)


def test_the_npu_gives_the_predictions_and_the_run_of_the_cpu(on_cpu, on_npu):
    for name in ("predictions/val.jsonl", "predictions/test.jsonl", "routed/test.jsonl"):
        there, here = ((folder / "work/main" / name).read_text().splitlines() for folder in (on_cpu, on_npu))
        assert [json.loads(line)["answers"] for line in here] == [json.loads(line)["answers"] for line in there]
    assert (on_npu / "run.csv").read_bytes() == (on_cpu / "run.csv").read_bytes()


KILLED = """
import os, signal
from imageclef_vqa import runtime
runtime.set_environment()
from imageclef_vqa.training import loop
loop.SAVE_EVERY, loop.SAVE_SHARE = 0.0, 1.0  # a state after every step
save, saved = loop._save, []
def save_and_die(*arguments):
    save(*arguments)
    saved.append(1)
    if len(saved) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
loop._save = save_and_die
"""


@pytest.mark.parametrize(("first", "then"), [("cpu", "npu"), ("npu", "cpu")])
def test_a_run_begun_on_one_device_goes_on_upon_another(tmp_path, on_cpu, plugin, first, then):
    folder = shutil.copytree(on_cpu, tmp_path / "workspace", ignore=shutil.ignore_patterns("stage2"))
    killed = medvqa([TRAIN[1].format(first)], folder, program=KILLED + PROGRAM, CUSTOM_DEVICE_ROOT=plugin)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (folder / "work/main/stage2/state.safetensors").exists()
    done = medvqa([TRAIN[1].format(then)], folder, CUSTOM_DEVICE_ROOT=plugin)
    assert done.returncode == 0, done.stderr
    for resumed, unbroken in zip(losses(folder, 2), losses(on_cpu, 2), strict=True):
        assert resumed == pytest.approx(unbroken, abs=1e-5)


CARDS = """
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     {name:<20}| OK            | 178.5       36                0    / 0             |
| 0     0                   | 0000:9D:00.0  | 0           0    / 0          3416 / {memory}         |
+===========================+===============+====================================================+
| 1     {name:<20}| OK            | -           36                0    / 0             |
| 0                         | 0000:9F:00.0  | 0           0    / 0          3195 / {memory}         |
+===========================+===============+====================================================+
"""


@pytest.mark.parametrize(
    ("name", "memory", "precision"),
    [("910A", 32768, "fp16"), ("910ProB", 32768, "fp16"), ("910B2", 65536, "bf16"), ("Ascend910", 65536, "bf16")],
)
def test_the_card_decides_which_half_precision_is_used(tmp_path, monkeypatch, name, memory, precision):
    tool = tmp_path / "npu-smi"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{CARDS.format(name=name, memory=memory)}END\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert [(card.memory, card.precision) for card in ascend.cards()] == [(memory, precision)] * 2
