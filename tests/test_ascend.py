"""An Ascend user's code path, on a stand-in that registers the device type `npu` with host memory."""

import json
import os
import re
import shutil
import subprocess
import sys
import warnings

import pytest
import standin
from typer.testing import CliRunner

from imageclef_vqa import ascend, devices
from imageclef_vqa.cli import app
from imageclef_vqa.synthetic import write_synthetic_dataset
from imageclef_vqa.training import clock, loop

TRAIN = (
    "finetune --stage 1 --preset tiny --epochs 1 --batch 4 --device {0}",
    "finetune --stage 2 --preset tiny --epochs 2 --batch 4 --questions 6 --device {0}",
)
CHAIN = (
    "split --val 0.2",
    *TRAIN,
    "predict --device {0}",
    "route --expert classical",
    "score",
    "package --out {1}/run.csv",
)
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

# After these commands: `features`, the other expert, reads one image; it would read 44, each for half a second.
FEATURES = """
from pathlib import Path
from imageclef_vqa.data import read_dataset
from imageclef_vqa.data.augmentation import PLAIN
from imageclef_vqa.experts import features
root = Path(sys.argv[-1])
dataset = read_dataset(root / "data/development")
features.descriptor().describe(dataset.subset(dataset.image_ids[:1]), root / "work/cache", PLAIN)
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


def here(line, folder):
    """Run a command in this process, which has imported Paddle, on the CPU."""
    done = CliRunner().invoke(app, [*line.split(), "--workspace", str(folder)])
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_synthetic_dataset(folder / "data", images=10, test=1, seed=11)
    return folder


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory, data):
    folder = shutil.copytree(data, tmp_path_factory.mktemp("cpu") / "workspace")
    for line in CHAIN:
        here(line.format("cpu", folder), folder)
    return folder


@pytest.fixture(scope="module")
def on_npu(tmp_path_factory, data, plugin):
    """The chain on a device whose memory the host cannot read: whatever touches it directly dies."""
    folder = shutil.copytree(data, tmp_path_factory.mktemp("npu") / "workspace")
    lines = [line.format("npu", folder) for line in CHAIN]
    done = medvqa(lines, folder, PROGRAM + FEATURES, CUSTOM_DEVICE_ROOT=plugin, MEDVQA_STANDIN_UNREADABLE=1)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def losses(folder, stage):
    """The numbers of each step and of each epoch's end; not the time they took, nor how long the gradient was."""
    lines = (folder / f"work/main/stage{stage}/log.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    numbers = [{name: each[name] for name in each if isinstance(each[name], float)} for each in records]
    return [{name: each[name] for name in each if name not in ("seconds", "norm")} for each in numbers]


def assert_same_losses(folder, other, stage):
    expected = losses(other, stage)
    assert expected
    for record, there in zip(losses(folder, stage), expected, strict=True):
        assert record == pytest.approx(there, abs=1e-5)


@pytest.mark.parametrize("stage", [1, 2])
def test_losses_on_the_npu_are_those_of_the_cpu(on_cpu, on_npu, stage):
    assert_same_losses(on_npu, on_cpu, stage)


def test_the_npu_gives_the_predictions_and_the_run_of_the_cpu(on_cpu, on_npu):
    for name in ("predictions/val.jsonl", "predictions/test.jsonl", "routed/test.jsonl"):
        there, here = ((folder / "work/main" / name).read_text().splitlines() for folder in (on_cpu, on_npu))
        assert [json.loads(line)["answers"] for line in here] == [json.loads(line)["answers"] for line in there]
    assert (on_npu / "run.csv").read_bytes() == (on_cpu / "run.csv").read_bytes()


STOPPED = """
from imageclef_vqa import environment
environment.set_environment()
from imageclef_vqa.training import clock, loop
clock.SAVE_EVERY, clock.SAVE_SHARE = 0.0, 1.0  # a state after every step
save = loop._save
def save_and_stop(*arguments):
    save(*arguments)
    raise KeyboardInterrupt
loop._save = save_and_stop
"""


@pytest.fixture(scope="module")
def begun_on_cpu(tmp_path_factory, on_cpu):
    """Stage 2 was stopped after its first step."""
    folder = tmp_path_factory.mktemp("begun") / "workspace"
    shutil.copytree(on_cpu, folder, ignore=shutil.ignore_patterns("stage2"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "SAVE_EVERY", clock.SAVE_EVERY)
        patch.setattr(clock, "SAVE_SHARE", clock.SAVE_SHARE)
        patch.setattr(loop, "_save", loop._save)
        exec(STOPPED, {})
        stopped = CliRunner().invoke(app, [*TRAIN[1].format("cpu").split(), "--workspace", str(folder)])
    assert stopped.exit_code == 130, stopped.output
    return folder


def test_a_run_begun_on_the_cpu_resumes_on_the_npu(tmp_path, on_cpu, begun_on_cpu, plugin):
    folder = shutil.copytree(begun_on_cpu, tmp_path / "workspace")
    done = medvqa([TRAIN[1].format("npu")], folder, CUSTOM_DEVICE_ROOT=plugin)
    assert done.returncode == 0, done.stderr
    assert_same_losses(folder, on_cpu, 2)


def test_a_run_begun_on_the_npu_resumes_on_the_cpu(tmp_path, on_cpu, plugin):
    folder = shutil.copytree(on_cpu, tmp_path / "workspace", ignore=shutil.ignore_patterns("stage2"))
    stopped = medvqa([TRAIN[1].format("npu")], folder, STOPPED + PROGRAM, CUSTOM_DEVICE_ROOT=plugin)
    assert stopped.returncode == 130, stopped.stderr
    assert (folder / "work/main/stage2/state.safetensors").exists()
    here(TRAIN[1].format("cpu"), folder)
    assert_same_losses(folder, on_cpu, 2)


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
    assert devices.best_precision("npu:0") == precision


def test_an_unknown_card_computes_in_fp32(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices.best_precision("npu:0") == "fp32"


def test_a_card_that_is_too_small_is_an_error_with_the_plan_that_fits(tmp_path, begun_on_cpu, plugin):
    folder = shutil.copytree(begun_on_cpu, tmp_path / "workspace")
    state = (folder / "work/main/stage2/state.safetensors").read_bytes()
    small = {"CUSTOM_DEVICE_ROOT": plugin, "MEDVQA_STANDIN_MEGABYTES": 45}
    failed = medvqa([TRAIN[1].format("npu")], folder, **small)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    told = re.search(
        r"npu:0 has no memory left, in (vision|the Q-Former|the language model): ([\d.]+) MB", failed.stderr
    )
    assert told, failed.stderr
    assert 25 < float(told[2]) <= 47  # not all: blocks are as long as they are
    fitting = re.search(r"`medvqa (plan --preset tiny --stage 2 .*(--accumulate \d+))`", failed.stderr)
    planned = json.loads(CliRunner().invoke(app, [*fitting[1].split(), "--json"]).stdout)["memory"]
    assert planned["peak"] - planned["program"] < 47e6
    assert (folder / "work/main/stage2/state.safetensors").read_bytes() == state
    # A step and a validation are enough to fill the memory.
    line = f"{TRAIN[1].format('npu')} --max-minutes 0.0001 --fresh {fitting[2]}"
    # The plan leaves out what Paddle's blocks waste, which counts on a card that is as small as this one.
    done = medvqa([line], folder, **(small | {"MEDVQA_STANDIN_MEGABYTES": 52}))
    assert done.returncode == 0, done.stderr


def test_two_cards_have_the_losses_of_one(tmp_path, on_npu, plugin):
    folder = shutil.copytree(on_npu, tmp_path / "workspace", ignore=shutil.ignore_patterns("stage2"))
    line = f"{TRAIN[1].format('npu')} --devices 0,1"
    done = medvqa([line], folder, CUSTOM_DEVICE_ROOT=plugin, MEDVQA_STANDIN_UNREADABLE=1)
    assert done.returncode == 0, done.stderr
    assert "2 processes on npu" in done.stdout
    assert_same_losses(folder, on_npu, 2)


@pytest.mark.parametrize(
    ("megabytes", "line", "part"),
    [
        (4, "predict --device npu --augment", "vision"),  # its weights are read first
        (60, "route --policy paper --device npu", "ResNet34"),
    ],
)
def test_a_card_that_is_too_small_to_answer_is_an_error_too(tmp_path, on_cpu, plugin, megabytes, line, part):
    folder = shutil.copytree(on_cpu, tmp_path / "workspace")
    before = (folder / "work/main/predictions/val.jsonl").read_bytes()
    failed = medvqa([line], folder, CUSTOM_DEVICE_ROOT=plugin, MEDVQA_STANDIN_MEGABYTES=megabytes)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert f"npu:0 has no memory left, in {part}" in failed.stderr
    assert re.search(r"planned: \d+ MB", failed.stderr)
    assert (folder / "work/main/predictions/val.jsonl").read_bytes() == before


SHAPES = """
import collections
from imageclef_vqa import environment
environment.set_environment()
from imageclef_vqa.models.blip2 import Blip2
read, shapes = Blip2.read, collections.Counter()
def counting(self, visual, image_of_pair, question, mask):
    shapes[tuple(question.shape)] += 1
    return read(self, visual, image_of_pair, question, mask)
Blip2.read = counting
"""


def test_an_npu_sees_few_shapes(tmp_path, on_cpu, plugin):
    folder = shutil.copytree(on_cpu, tmp_path / "workspace", ignore=shutil.ignore_patterns("stage2"))
    lines = [
        f"finetune --stage 2 --preset tiny --epochs 1 --batch 4 --questions 6 --device {device} --fresh"
        for device in ("cpu", "npu")
    ]
    told = SHAPES + PROGRAM + "    print('shapes', len(shapes), flush=True); shapes.clear()"
    done = medvqa(lines, folder, told, CUSTOM_DEVICE_ROOT=plugin)
    assert done.returncode == 0, done.stderr
    for_cpu, for_npu = map(int, re.findall(r"^shapes (\d+)$", done.stdout, re.MULTILINE))
    assert for_npu <= 3 < for_cpu, (for_npu, for_cpu)


def test_a_plug_in_that_cannot_be_loaded_is_named_with_the_reason(tmp_path):
    """As where CANN's libraries are not on the path."""
    (tmp_path / "libpaddle-custom-npu.so").write_text("no library")
    for device in ("npu", "cpu"):
        done = medvqa([f"predict --device {device}"], tmp_path, CUSTOM_DEVICE_ROOT=tmp_path)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert f"cannot load the plug-in in {tmp_path}: {tmp_path}/libpaddle-custom-npu.so: " in done.stderr
        assert "set_env.sh" in done.stderr
    told = medvqa(["doctor --json"], tmp_path, CUSTOM_DEVICE_ROOT=tmp_path)
    assert told.returncode == 1
    found = {check["name"]: check for check in json.loads(told.stdout)["checks"]}
    assert "libpaddle-custom-npu.so: " in found["Paddle"]["found"]
    assert "set_env.sh" in found["Paddle"]["remedy"]


def test_a_missing_card_is_reported_with_those_that_exist(tmp_path, plugin):
    done = medvqa(["predict --device npu:7"], tmp_path, CUSTOM_DEVICE_ROOT=plugin)
    assert done.returncode == 1
    assert "no device npu:7 here" in done.stderr
    assert "use --device npu:0 or npu:1" in done.stderr


def test_doctor_tries_all_cards_and_names_what_runs_on_the_cpu(tmp_path, plugin):
    done = medvqa(["doctor --device npu --json"], tmp_path, CUSTOM_DEVICE_ROOT=plugin)
    assert done.returncode == 0, done.stderr
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert found["NPU plug-in"]["verdict"] == "good"
    for card in ("npu:0", "npu:1"):
        figures = found[card]["figures"]
        assert figures["gflops"] > 0
        assert figures["memory_mb"] == (2048 if standin.tells_its_memory() else 0)
        assert figures["step_ms"] > 0
        assert {"softmax", "matmul"} <= set(figures["on_the_cpu"])
        assert not {"full", "add"} & set(figures["on_the_cpu"])  # which the stand-in has
    assert found["npu collective"]["figures"]["processes"] == 2
