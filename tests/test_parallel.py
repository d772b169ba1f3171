"""Several processes train as one does, and end together."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
from small_chain import small_preset
from typer.testing import CliRunner

from imageclef_vqa import environment
from imageclef_vqa.checkpoints.layers import read_weights
from imageclef_vqa.cli import app
from imageclef_vqa.data import make_split, read_dataset
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.synthetic import write_synthetic_dataset
from imageclef_vqa.training import launch
from imageclef_vqa.workspace import Workspace

SLEEP = "import time; time.sleep(60)"


def watched(*programs):
    voices = [tempfile.TemporaryFile("w+") for _ in programs]  # noqa: SIM115
    processes = [
        subprocess.Popen([sys.executable, "-c", program], stderr=voice)
        for program, voice in zip(programs, voices, strict=True)
    ]
    try:
        return launch._watch(processes, voices, range(len(programs)))
    finally:
        ended = [process.poll() is not None for process in processes]
        for process, voice in zip(processes, voices, strict=True):
            process.kill()
            process.wait()
            voice.close()
        assert all(ended), "none outlives the others"


def test_two_processes_have_the_losses_and_weights_of_one(tmp_path):
    write_synthetic_dataset(tmp_path / "data", images=24, test=1, seed=5)
    workspace = Workspace.at(tmp_path)
    make_split(read_dataset(workspace.development, cache=workspace.cache), val=0.25, cache=workspace.cache).write(
        workspace.split_file
    )
    options = f"finetune --stage 1 --epochs 1 --batch 5 --device cpu --seed 1 --workspace {tmp_path}".split()
    options += ["--preset", "folder", "--weights", str(small_preset().folder)]
    alone = CliRunner().invoke(app, [*options, "--run", "one"])
    assert alone.exit_code == 0, alone.output
    command = [sys.executable, "-m", "imageclef_vqa", *options, "--run", "two", "--devices", "0,1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    logs, weights = [], []
    for run in ("one", "two"):
        folder = Workspace.at(tmp_path, run).stage(1)
        logs.append([json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()])
        weights.append(read_weights(folder / "model.safetensors"))
    assert len(logs[0]) == len(logs[1])
    for alone, together in zip(*logs, strict=True):
        for name in alone.keys() - {"seconds"}:
            assert together[name] == pytest.approx(alone[name], abs=1e-5, rel=1e-6)
    assert all(np.allclose(weights[0][name], weights[1][name], atol=1e-3) for name in weights[0])


def test_a_killed_process_ends_the_others_and_is_named():
    killed = f"import os, signal; os.kill(os.getpid(), {int(signal.SIGKILL)})"
    with pytest.raises(MedvqaError, match=r"process 2 of 3 \(device 1\) was killed by SIGKILL; the others were ended"):
        watched(SLEEP, killed, SLEEP)


def test_a_killed_process_is_reported_rather_than_the_errors_that_follow():
    def ended(code):
        return SimpleNamespace(returncode=code, poll=lambda: code, kill=lambda: None, wait=lambda: None)

    with pytest.raises(MedvqaError, match=r"process 2 of 3 .* was killed by SIGKILL"):
        launch._watch([ended(1), ended(-9), ended(1)], [], range(3))


def test_a_lost_connection_is_an_error_with_a_remedy():
    environment.set_environment()
    from imageclef_vqa.training.parallel import Processes

    processes = Processes()
    processes.count = 2
    with (
        pytest.raises(MedvqaError, match=r"process 1 of 2 has lost the connection to another one"),
        processes.lost_process_explained(),
    ):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:576] Read error [127.0.0.1]:2952: Connection reset by peer")
    with pytest.raises(RuntimeError, match="wrong shape"), processes.lost_process_explained():
        raise RuntimeError("wrong shape")


def test_the_output_of_the_only_process_that_fails_is_shown(monkeypatch):
    monkeypatch.setattr(launch, "_GRACE", 0.2)
    with pytest.raises(MedvqaError, match=r"process 2 of 2 .* failed; the others were ended:\nno such device"):
        watched(SLEEP, "raise SystemExit('no such device')")


@pytest.mark.parametrize(("words", "code"), [(["--version"], 0), (["score", "none.csv"], 1), (["runs", "--no"], 2)])
def test_a_launched_process_keeps_its_exit_code_whatever_destructors_do(tmp_path, words, code):
    program = (
        "import os, sys\nclass Aborts:\n    def __del__(self): os.abort()\nleft = Aborts()\n"
        f"from imageclef_vqa.cli import main\nsys.argv = ['medvqa', *{words}]\nmain()"
    )
    alone = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=tmp_path)
    assert alone.returncode == -signal.SIGABRT, "this program shows nothing"
    together = os.environ | {"PADDLE_TRAINER_ID": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=tmp_path, env=together)
    assert (done.returncode, done.stdout) == (code, alone.stdout)


def test_an_error_of_all_processes_is_printed_once():
    assert watched("raise SystemExit(2)", "raise SystemExit(2)") == 2
    assert watched("", "") == 0
