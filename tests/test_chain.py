"""The chain as a user types it, with the installed program, in an empty folder."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imageclef_vqa.cli import app
from imageclef_vqa.editions import QUESTIONS, read_predictions
from imageclef_vqa.inference import answering
from imageclef_vqa.inference.answerer import Answerer

INSTALLED = Path(sys.executable).with_name("medvqa")
COMMAND = [str(INSTALLED)] if INSTALLED.exists() else [sys.executable, "-m", "imageclef_vqa"]


def medvqa(line: str, folder: Path) -> str:
    done = subprocess.run([*COMMAND, *line.split()], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"medvqa {line}\n{done.stdout}{done.stderr}"
    assert "\x1b" not in done.stdout + done.stderr, "colours and bars belong to terminals"
    return done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The workspace that `medvqa demo` leaves, what it printed, and the folder that it was called in."""
    elsewhere, kept = tmp_path_factory.mktemp("elsewhere"), tmp_path_factory.mktemp("demo") / "kept"
    return kept, medvqa(f"demo --images 40 --keep {kept}", elsewhere), elsewhere


@pytest.fixture(scope="module")
def finished(demo):
    return demo[0]


def test_the_run_holds_every_test_image_with_all_questions_and_valid_answers(finished):
    ids = (finished / "data/test/test_image_ids.txt").read_text().split()
    with (finished / "run.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["ImageID"] for row in rows) == dict.fromkeys(ids, 18)
    assert {(int(row["QuestionID"]), row["Question"]) for row in rows} == {(q.id, q.text) for q in QUESTIONS}
    known = {q.id: {name.casefold() for name in q.known} for q in QUESTIONS}
    for row in rows:
        assert {a.casefold() for a in row["Answer"].split("; ")} <= known[int(row["QuestionID"])] | {"pink"}


def test_each_step_says_which_is_next(demo):
    for command in ("finetune --stage 2", "predict", "route"):
        assert re.search(rf"`(medvqa|imageclef-vqa) {command}[ `]", demo[1]), (
            "by the name that the program was called by"
        )


def test_every_prediction_has_probabilities_over_the_allowed_answers(finished):
    for fold in ("val", "test"):
        for prediction in read_predictions(finished / f"work/main/predictions/{fold}.jsonl"):
            shares = [candidate.probability for candidate in prediction.candidates]
            assert shares == sorted(shares, reverse=True)
            assert 0 < sum(shares) <= 1 + 1e-5
            assert prediction.probability == shares[0]


def test_the_stage_folder_holds_no_frozen_weights_and_no_leftovers(finished):
    names = sorted(path.name for path in (finished / "work/main/stage2").iterdir())
    assert names == ["config.json", "log.jsonl", "loss.png", "model.safetensors", "record.json", "vocabulary.json"]
    assert (finished / "work/main/stage2/model.safetensors").stat().st_size < 8e6


def test_interrupted_predictions_go_on_where_they_stopped(finished, tmp_path, monkeypatch):
    workspace = shutil.copytree(finished, tmp_path / "w", ignore=shutil.ignore_patterns("routed", "experts"))
    path = workspace / "work/main/predictions/test.jsonl"
    monkeypatch.setattr(answering, "IMAGES_AT_ONCE", 3)
    rank, calls, interrupted_at = Answerer.rank, [], None

    def counted(self, pixels, augmented):
        calls.extend(pixels)
        if len(calls) == interrupted_at:
            os.kill(os.getpid(), signal.SIGINT)
        return rank(self, pixels, augmented)

    def predict():
        calls.clear()
        return CliRunner().invoke(app, ["predict", "--device", "cpu", "--fold", "test", "--workspace", str(workspace)])

    monkeypatch.setattr(Answerer, "rank", counted)
    assert predict().exit_code == 0
    assert len(calls) == 6
    whole = path.read_bytes()
    path.unlink()
    interrupted_at = 6
    stopped = predict()
    assert stopped.exit_code == 130, stopped.output
    assert "interrupted" in stopped.stderr
    assert not path.exists()
    assert len(list(path.with_name(".test.jsonl.unfinished").rglob("*.json"))) == 1
    interrupted_at = None
    assert predict().exit_code == 0
    assert path.read_bytes() == whole
    assert len(calls) == 3, "images that were answered are not answered again"


def test_the_demo_leaves_its_run_and_report_where_it_says(demo):
    kept, printed, elsewhere = demo
    for line in (
        "split --val 0.2",
        "finetune --stage 1",
        "predict",
        "route",
        "score",
        "package --out run.csv",
        "status",
    ):
        assert re.search(rf"\$ (medvqa|imageclef-vqa) {re.escape(line)}", printed)
    written = [kept / "run.csv", kept / "demo_clef2023_medvqa.zip", kept / "work/main/report.html"]
    assert [Path(line.split()[-1]) for line in printed.splitlines()[-3:]] == written
    assert all(path.stat().st_size > 0 for path in written)
    assert "<html" in (kept / "work/main/report.html").read_text(encoding="utf-8")
    assert list(elsewhere.iterdir()) == []


def test_each_command_alone_goes_on_where_the_demo_ended(finished):
    """In processes of their own, as a user types them: a finished stage is kept, other steps give the same files."""
    kept, path = (finished / "run.csv").read_bytes(), finished / "work/main/predictions/val.jsonl"
    before = path.read_bytes()
    assert "already" in medvqa("finetune --stage 2 --preset tiny --epochs 2 --learning-rate 3e-4", finished)
    assert json.loads(medvqa("predict --json", finished))["images"]["test"] == 6
    assert path.read_bytes() == before
    medvqa("route --expert classical", finished)
    scores = json.loads(medvqa("score --json", finished))
    assert re.fullmatch(r"val|test", next(iter(scores["folds"])))
    medvqa("package --out again.csv", finished)
    assert (finished / "again.csv").read_bytes() == kept
