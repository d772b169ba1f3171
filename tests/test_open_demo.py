"""`medvqa demo --edition medico-2026`: the open chain on drawn scenes, with sentences as answers."""

import json

import pytest
from typer.testing import CliRunner

from imageclef_vqa.cli import app, demo


def test_the_demo_of_open_questions_ends_with_a_run_and_hints(tmp_path, monkeypatch):
    """With one epoch, the model says nothing, which `package` and `check` refuse."""
    quick = {"finetune": " --epochs 1 --answer-tokens 3", "package": " --force"}
    chain = [line + quick.get(line.split()[0], "") for line in demo.OPEN_CHAIN if not line.startswith("check")]
    monkeypatch.setattr(demo, "OPEN_CHAIN", chain)
    folder = tmp_path / "demo"
    done = CliRunner().invoke(app, ["demo", "--edition", "medico-2026", "--images", "40", "--keep", str(folder)])
    assert done.exit_code == 0, done.output
    content = json.loads((folder / "predictions_1.json").read_text())
    rows = [json.loads(line) for line in (folder / "data/test/qa.jsonl").read_text().splitlines()]
    assert [(each["img_id"], each["question"]) for each in content["predictions"]] == [
        (row["img_id"], row["question"]) for row in rows
    ]
    assert content["submission_info"]["Team_Name"] == "demo"
    shown = " ".join(done.stdout.split())
    assert f"package --submission FOLDER --repo-id ORG/NAME --workspace {folder}`" in shown
    assert f"run file {folder}/predictions_1.json report {folder}/work/main/report.html" in shown
    assert "predictions/test fresh" in shown


@pytest.mark.parametrize("edition", ["gi-2025", "2026"])
def test_only_editions_with_a_demo_can_be_named(edition):
    assert CliRunner().invoke(app, ["demo", "--edition", edition]).exit_code == 2
