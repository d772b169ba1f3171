"""Which answers of a run the commands use, what they say of it, and what they refuse, on the model of `small_chain`."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from small_chain import stubbed_training, train, write_small_data, write_small_weights
from small_dataset import picture
from test_lineage import flip
from typer.testing import CliRunner

import imageclef_vqa as vqa
from imageclef_vqa.artefacts import read_record, record_path
from imageclef_vqa.cli import app, console
from imageclef_vqa.data import images
from imageclef_vqa.editions import read_predictions
from imageclef_vqa.inference.calibration import Calibration, write_calibration
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.pipeline.lineage import Lineage
from imageclef_vqa.workspace import Workspace

VARIANTS = {"f1": ["--optimise", "f1"], "augmented": ["--augment"], "mine": ["--consistent", "--name", "mine"]}
VARIANTS["free"] = ["--decode", "free"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Preset]]:
    """The run `other`, routed, with variants."""
    folder = tmp_path_factory.mktemp("answers")
    preset = write_small_weights(folder / "weights")
    workspace = Workspace.at(folder / "w", "other")
    with stubbed_training(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("imageclef_vqa.pipeline.package_closed.check_run", lambda run: [])
        write_small_data(workspace.root)
        vqa.split(workspace.root, val=0.3)
        for number in (1, 2):
            train(workspace, preset, number, 0)
        for options in ([], *VARIANTS.values()):
            medvqa(workspace, "predict", *options)
        medvqa(workspace, "route", "--policy", "paper", "--expert", "classical")
        yield workspace, preset


@pytest.fixture
def workspace(made: tuple[Workspace, Preset], tmp_path: Path) -> Workspace:
    """A copy of its workspace, with weights of its own."""
    return Workspace.at(shutil.copytree(made[0].root, tmp_path / "w"), "other")


def invoke(workspace: Workspace, *words: object, run: bool = True) -> Result:
    options = ["--workspace", str(workspace.root), *(["--run", workspace.run] if run else [])]
    return CliRunner().invoke(app, [*map(str, words), *options])


def medvqa(workspace: Workspace, *words: object) -> str:
    done = invoke(workspace, *words)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(workspace: Workspace, *words: object, code: int = 1) -> str:
    done = invoke(workspace, *words)
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


def first_image(workspace: Workspace) -> Path:
    """That of the test set."""
    return workspace.test / "images" / "image100.jpg"


@pytest.mark.parametrize("answers", ["plain", "routed", *VARIANTS])
def test_ask_and_images_answer_as_the_run_does_under_every_name(workspace: Workspace, answers: str) -> None:
    path = {"plain": workspace.predictions("test"), "routed": workspace.routed("test")}.get(answers)
    expected = read_predictions(path or workspace.predictions("test", answers))
    asked = json.loads(medvqa(workspace, "ask", first_image(workspace), "--answers", answers, "--json"))
    assert asked["answers"] == answers
    for mine, theirs in zip(asked["questions"], expected[: len(asked["questions"])], strict=True):
        assert (tuple(mine["answer"]), mine["model"]) == (
            theirs.answers,
            theirs.model if answers != "free" else "blip2 folder",
        )
        assert mine["probability"] == pytest.approx(theirs.probability, abs=1e-5)
    out = workspace.root / "answers.jsonl"
    medvqa(workspace, "predict", "--images", workspace.test / "images", "--out", out, "--answers", answers)
    for mine, theirs in zip(read_predictions(out), expected, strict=True):
        assert (mine.image_id, mine.answers, mine.model) == (theirs.image_id, theirs.answers, theirs.model)
        assert mine.probability == pytest.approx(theirs.probability, abs=1e-5)


def test_a_variant_that_is_missing_or_stale_is_refused_with_the_command_that_makes_it(workspace: Workspace) -> None:
    message = refused(workspace, "ask", first_image(workspace), "--answers", "best")
    typed = f"--run other --workspace {workspace.root}"
    assert f"no best answers to val in work/other: `medvqa predict --name best {typed}` makes one" in message
    picture(7).save(first_image(workspace), quality=95)
    workspace.predictions("val", "f1").unlink()
    message = refused(workspace, "ask", first_image(workspace), "--answers", "f1")
    assert "predictions/f1/test.jsonl is stale: the test set has changed" in message
    assert f"begin with `medvqa predict --optimise f1 --name f1 {typed}`; --answers plain asks BLIP-2 only" in message
    both = ["--images", workspace.test / "images", "--out", workspace.root / "a.jsonl", "--optimise", "f1"]
    assert "--answers plain has its own options: leave it out, or the options of f1" in refused(
        workspace, "predict", *both, "--answers", "plain", code=2
    )


def test_answers_to_a_folder_are_packaged_like_the_runs_own(
    workspace: Workspace, made: tuple[Workspace, Preset]
) -> None:
    out, run = workspace.root / "answers.jsonl", workspace.root / "run.csv"
    medvqa(workspace, "package", "--out", run)
    whole = run.read_bytes()
    medvqa(workspace, "predict", "--images", workspace.test / "images", "--out", out)
    package = ["package", "--predictions", out, "--out", run]
    assert "warning" not in medvqa(workspace, *package)
    assert run.read_bytes() == whole
    assert invoke(workspace, *package, run=False).exit_code == 0, "the record names the run"
    kept = record_path(out).rename(out.with_name("kept"))
    assert "warning: answers.jsonl has no record: nothing says which model answers which images in it" in medvqa(
        workspace, *package
    )
    kept.rename(record_path(out))
    before = first_image(workspace).read_bytes()
    picture(7).save(first_image(workspace), quality=95)
    assert "answers.jsonl is stale: it answers other images than the test set has" in refused(workspace, *package)
    first_image(workspace).write_bytes(before)
    train(workspace, made[1], 2, 1, fresh=True)
    message = refused(workspace, *package)
    assert "answers.jsonl is stale: run other: stage2 was made again" in message
    flip(out, random.Random(0))
    message = refused(workspace, *package)
    assert "answers.jsonl is damaged: " in message
    assert "is not the file that was finished: its content has changed" in message


def test_a_frozen_weight_that_changed_is_refused_by_predict_and_package(
    workspace: Workspace, made: tuple[Workspace, Preset]
) -> None:
    weights = made[1].folder / "language.safetensors"
    before = weights.read_bytes()
    try:
        flip(weights, random.Random(1))
        message = refused(workspace, "predict")
        assert f"{weights} is not the file that work/other/stage2 was trained with: its content has changed" in message
        assert "restore it, or train both stages again" in message
        message = refused(workspace, "package", "--out", workspace.root / "run.csv")
        assert "work/other/routed/test.jsonl is stale: " in message
        shown = medvqa_status(workspace)
        assert shown["stage2"] == ["stage1 is stale", "a file of weights has changed"]
    finally:
        weights.write_bytes(before)
    assert medvqa_status(workspace)["stage2"] == []


def medvqa_status(workspace: Workspace) -> dict[str, list[str]]:
    (found,) = json.loads(medvqa(workspace, "status", "--json"))["runs"]
    return {each["name"]: each["reasons"] for each in found["artefacts"]}


def test_another_temperature_makes_answers_stale(workspace: Workspace) -> None:
    path = workspace.calibration
    record, fitted = read_record(path), Calibration.model_validate_json(path.read_bytes())
    assert record is not None
    same = fitted.model_copy(update={"nll": (1.0, 1.0)})
    write_calibration(workspace, same, augment=False, inputs=record.inputs)
    assert Lineage(workspace).artefact("predictions/test").status == "fresh", "no answer depends on it"
    other = fitted.model_copy(update={"temperature": 3.0})
    write_calibration(workspace, other, augment=False, inputs=record.inputs)
    assert medvqa_status(workspace)["predictions/test"] == ["calibration was made again"]
    assert medvqa_status(workspace)["predictions/augmented/test"] == []
    path.unlink()
    assert medvqa_status(workspace)["predictions/test"] == ["calibration is missing"]


def test_the_manifest_names_both_calibrations(workspace: Workspace) -> None:
    run = workspace.root / "run.csv"
    medvqa(workspace, "package", "--out", run)
    inputs = json.loads(run.with_name("run.csv.manifest.json").read_bytes())["inputs"]
    assert {"work/other/calibration.json", "work/other/calibration-augmented.json"} <= inputs.keys()


def test_package_reads_each_data_set_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = images.index_images
    monkeypatch.setattr(
        "imageclef_vqa.data.reading.index_images",
        lambda paths, cache: read.append(paths[0].parent.parent.name) or original(paths, cache),
    )
    medvqa(workspace, "package", "--out", workspace.root / "run.csv")
    assert sorted(read) == ["development", "test"]


def test_an_image_that_cannot_be_read_is_packaged_with_the_priors_answers_and_a_warning(workspace: Workspace) -> None:
    first_image(workspace).write_bytes(b"no picture")
    medvqa(workspace, "predict", "--on-bad-image", "prior")
    shown = " ".join(medvqa(workspace, "package", "--answers", "plain", "--out", workspace.root / "run.csv").split())
    assert "warning: 1 test images cannot be read: their answers are the most frequent training answers" in shown


def test_runs_tells_a_stage_without_a_record_and_a_stale_one_by_name(
    workspace: Workspace, made: tuple[Workspace, Preset]
) -> None:
    options = f"--run other --workspace {workspace.root}"
    train(workspace, made[1], 1, 1, fresh=True)
    shown = invoke(workspace, "runs", run=False)
    stale = f"work/other/stage2 is stale: stage1 was made again: `medvqa finetune --stage 2 --fresh {options}`"
    assert stale in shown.stderr
    (workspace.stage(1) / "record.json").unlink()
    shown = invoke(workspace, "runs", "--json", run=False)
    (run,) = json.loads(shown.stdout)["runs"]
    assert [stage["finished"] for stage in run["stages"]] == [True, True]
    reason = "made by a version that kept no records"
    assert f"work/other/stage1 is unrecorded: {reason}: `medvqa finetune --stage 1 --fresh {options}`" in run["faults"]


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ("data/development/gt.json", "split --workspace"),
        ("work/other/stage1/config.json", "finetune --stage 1 --fresh --run other"),
        ("work/other/stage2/vocabulary.json", "finetune --stage 2 --fresh --run other"),
        ("data/test/images/image100.jpg", "predict --run other"),
        ("work/other/predictions/val.jsonl", "predict --run other"),
        ("work/other/routed/decisions.json", "route --run other"),
    ],
)
def test_package_and_status_name_the_first_command_of_what_has_to_be_made_again(
    workspace: Workspace, changed: str, first: str
) -> None:
    path = workspace.root / changed
    if changed.endswith("gt.json"):
        path.write_bytes(path.read_bytes().replace(b"Colonoscopy", b"Gastroscopy", 1))
    elif changed.endswith(".jpg"):
        picture(7).save(path, quality=95)
    else:
        flip(path, random.Random(2))
    message = refused(workspace, "package", "--out", workspace.root / "run.csv")
    assert f"`medvqa {first}" in message
    assert len(re.findall("`medvqa ", message)) == 1, message
    (found,) = json.loads(medvqa(workspace, "status", "--json"))["runs"]
    assert found["next"].startswith(f"medvqa {first}")


def test_without_any_record_the_first_command_is_that_of_the_first_stage(workspace: Workspace) -> None:
    for path in workspace.run_folder.rglob("*record.json"):
        path.unlink()
    first = f"`medvqa finetune --stage 1 --fresh --run other --workspace {workspace.root}`"
    message = refused(workspace, "package", "--out", workspace.root / "run.csv")
    assert "work/other/routed/test.jsonl is unrecorded: made by a version that kept no records" in message
    assert first in message
    assert f"next: {first}" in medvqa(workspace, "status")


def test_a_picture_of_the_same_size_and_date_is_another_picture(workspace: Workspace) -> None:
    path = first_image(workspace)
    medvqa(workspace, "package", "--out", workspace.root / "run.csv")  # the index of this folder is stored
    status, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-40] + bytes([content[-40] ^ 1]) + content[-39:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    message = refused(workspace, "package", "--out", workspace.root / "run.csv")
    assert "work/other/routed/test.jsonl is stale: the test set has changed" in message


def test_the_commands_in_findings_and_about_another_split_keep_run_and_workspace(workspace: Workspace) -> None:
    run, options = workspace.root / "run.csv", f"--run other --workspace {workspace.root}"
    medvqa(workspace, "package", "--out", run)
    run.write_text("".join(run.read_text().splitlines(keepends=True)[:-1]))
    assert f"`medvqa predict {options}` answers every image and question" in refused(workspace, "check", run)
    assert f"`medvqa package --out run.csv {options}` writes the run again" in refused(
        workspace, "package", "--verify", run
    )
    vqa.split(workspace.root, val=0.5, seed=1)
    for command in ("route", "score", "package"):
        message = refused(workspace, command)
        assert "work/other/predictions/val.jsonl does not answer the validation images of work/split.json" in message
        following = "finetune --stage 1 --fresh" if command == "package" else "predict"
        assert f"`medvqa {following} {options}`" in message


def test_a_warning_stands_out_and_a_note_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    styles: list[dict[str, object]] = []
    monkeypatch.setattr(console, "echo", lambda message, **style: styles.append(style))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    console.note("warning: stale")
    console.note("fitting")
    assert styles == [{"fg": "yellow", "err": True}, {"dim": True, "err": True}]


def test_every_command_in_a_refusal_keeps_run_and_workspace(workspace: Workspace) -> None:
    """What is lost, and the commands that then refuse."""
    folder, image = workspace.run_folder, first_image(workspace)
    cases: list[tuple[Path, list[list[object]]]] = [
        (folder / "experts/classical/test.jsonl", [["route", "--apply-only"], ["package"]]),
        (folder / "experts/classical/val.jsonl", [["ask", image]]),
        (folder / "calibration.json.record.json", [["predict", "--fold", "test"]]),
        (folder / "routed/decisions.json.record.json", [["ask", image], ["package"]]),
        (folder / "predictions/val.jsonl", [["route"], ["package"]]),
        (folder / "predictions/test.jsonl", [["package"], ["package", "--answers", "plain"]]),
        (folder / "stage2/vocabulary.json", [["predict"], ["package"], ["score"]]),
        (folder / "stage2/record.json", [["predict"], ["ask", image]]),
        (folder / "stage1/model.safetensors", [["finetune", "--stage", "2", "--epochs", "7"]]),
        (workspace.split_file, [["finetune", "--stage", "2"], ["predict"], ["route"], ["score"], ["package"]]),
    ]
    seen = 0
    for path, commands in cases:
        path.unlink()
        for words in commands:
            message = refused(workspace, *words)
            for command in re.findall(r"`(medvqa [^`]*)`", message):
                assert f"--workspace {workspace.root}" in command, (words, message)
                assert ("--run" in command) == ("split" not in command), (words, message)
                seen += 1
    assert seen > 15
