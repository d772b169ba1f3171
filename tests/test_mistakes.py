"""What a newcomer mistypes or misplaces: each mistake has a message with the next step, and no traceback."""

import shutil

import pytest
from small_dataset import write_dataset
from trained import write_run
from typer.testing import CliRunner

from imageclef_vqa.cli import app
from imageclef_vqa.workspace import Workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace with a finished stage 2, without predictions."""
    root = tmp_path_factory.mktemp("mistakes")
    write_dataset(root / "data/development", count=8)
    write_dataset(root / "data/test", count=2)
    write_run(Workspace.at(root), seed=0)
    (root / "case").mkdir()
    shutil.copy(root / "data/test/images/image0.jpg", root / "case/case 12.jpg")
    (root / "broken").mkdir()
    (root / "broken/image0.jpg").write_bytes(b"no picture")
    (root / "empty").mkdir()
    (root / "run.csv").write_text("ImageID,QuestionID,Question,Answer\n", encoding="utf-8")
    return root


MISTAKES = [
    ("predict --images data/test --out a.jsonl", 1, "data/test/images"),
    ("predict --images data/test --out a.jsonl --on-bad-image prior", 1, "data/test/images"),
    ("predict --images broken --out a.jsonl --on-bad-image prior", 1, "no image of images can be read"),
    ("predict --images broken --out a.jsonl", 1, "not an image"),
    ("predict --images empty --out a.jsonl", 1, "no image there"),
    ("predict --images nowhere --out a.jsonl", 1, "there is no such folder"),
    ("predict --images case --out a.jsonl", 1, "rename these files"),
    ("predict --images data/test/images", 2, "--out answers.jsonl"),
    ("predict --images data/test/images --out answers.csv", 2, "medvqa package --predictions"),
    ("predict --images data/test/images --out a.jsonl --fold val", 2, "exclude each other"),
    ("predict --out a.jsonl", 2, "--out goes with --images"),
    ("predict --ids ids.txt", 2, "--ids goes with --images"),
    ("predict --fold tset", 2, "'tset' is not one of val, test, train"),
    ("predict --run nobody", 1, "medvqa finetune --stage 2 --run nobody"),
    ("split --folds 500", 1, "use fewer folds"),
    ("split --val 1.5", 2, "--val"),
    ("finetune", 2, "--stage"),
    ("finetune --stage 3", 2, "--stage"),
    ("finetune --stage 2 --run b --weights nowhere", 1, "medvqa weights convert"),
    ("finetune --stage 2 --run b --preset vit-g", 2, "vit-g-t5-base"),
    ("finetune --stage 2 --run b --recipe mine.toml", 2, "there is no such file"),
    ("finetune --stage 2 --run b --recipe vit-g-frozen-t5-bass", 2, "vit-g-frozen-t5-base"),
    ("finetune --stage 2 --run b --recipe vit-g-frozen-t5-base", 2, "weights"),
    ("finetune --stage 2 --run b --batch 0", 2, "batch"),
    ("finetune --stage 2 --run b --device tpu", 2, "tpu"),
    ("finetune --stage 2 --run ../b", 2, "a name of letters"),
    ("finetune --stage 1 --run b --fold 7", 2, "the split has folds 0 to 0"),
    ("route", 1, "medvqa predict"),
    ("route --expert linear", 2, "--expert classical"),
    ("route --questions 18", 2, "18"),
    ("score", 1, "medvqa predict"),
    ("score nosuch.csv", 1, "nosuch.csv"),
    ("score run.csv", 1, "run.csv"),
    ("score run.csv --gold nosuch.json", 1, "nosuch.json"),
    ("score --gold data/test/gt.json", 2, "medvqa score run.csv --gold gt.json"),
    ("package", 1, "medvqa predict"),
    ("package --out run.xlsx", 2, ".csv"),
    ("package --team Us --out run.zip", 2, "leave one of them out"),
    ("check nosuch.csv", 1, "nosuch.csv"),
    ("check data/test/gt.json", 1, "ImageID"),
    ("ask", 2, "image"),
    ("ask data/test/images", 1, "data/test/images"),
    ("ask data/test/images/image0.jpg weather", 2, "no question"),
    ("plan --preset nosuch", 2, "there are: tiny"),
    ("plan --memory lots", 2, "32GB"),
    ("weights show nowhere", 1, "nowhere"),
    ("import kvasir-vqa nowhere.csv data/development/images", 1, "nowhere.csv"),
    ("stage 2", 2, "No such command"),
]


@pytest.mark.parametrize(("line", "code", "message"), MISTAKES, ids=[line for line, _, _ in MISTAKES])
def test_a_mistake_is_answered_with_the_next_step(workspace, monkeypatch, line, code, message):
    monkeypatch.chdir(workspace)
    before = {path.relative_to(workspace) for path in workspace.rglob("*")}
    done = CliRunner().invoke(app, line.split())
    assert message in done.output, done.output
    assert done.exit_code == code
    assert len(done.output.splitlines()) < 30
    left = {path.relative_to(workspace) for path in workspace.rglob("*")} - before
    assert not {path for path in left if path.parts[0] != "work"}


def test_a_run_is_scored_outside_a_workspace_only_with_gold_answers(workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["score", str(workspace / "run.csv")])
    assert done.exit_code == 2
    assert "--gold gt.json" in done.output


@pytest.mark.parametrize("line", ["split", "finetune --stage 1", "predict", "route", "score", "package"])
def test_nothing_is_left_where_there_are_no_data(tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, line.split())
    assert done.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_a_misspelt_folder_of_test_images_is_asked_about(tmp_path, monkeypatch):
    write_dataset(tmp_path / "data/development", count=8)
    write_dataset(tmp_path / "data/tset", count=2)
    write_run(Workspace.at(tmp_path), seed=0)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["predict", "--device", "cpu"])
    assert "is data/tset a misspelling of it?" in done.output
    assert "a misspelling of data/test?" in CliRunner().invoke(app, ["package"]).output
