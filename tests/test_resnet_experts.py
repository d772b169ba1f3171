"""ResNet34 experts: classes, training that goes on, answers, and who may take over with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_dataset import record, write_dataset, write_labels
from typer.testing import CliRunner

from imageclef_vqa.cli import app
from imageclef_vqa.data import make_split, pixels, read_dataset
from imageclef_vqa.inference.experts import answer_with_experts, rank_one_of, rank_sets
from imageclef_vqa.task import Prediction, read_predictions, write_predictions
from imageclef_vqa.training import experts
from imageclef_vqa.training.experts import Head, read_config
from imageclef_vqa.workspace import Workspace

RUNNER = CliRunner()
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track:UserWarning")
SIZES = ("Not relevant", "11-20mm", "5-10mm", ">20mm", "< 5mm")
TYPES = ("Not relevant", "Paris ip", "Paris iia", "Paris is")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(experts, "_SIZE", 32)
    place = Workspace.at(tmp_path)
    write_dataset(place.development, 30)
    write_labels(
        place.development,
        [
            record(f"image{n}", q16=[SIZES[n % 5]], q17=[TYPES[n % 4]], q5=["Red", "Pink"][: 1 + n % 2])
            for n in range(30)
        ],
    )
    split = make_split(read_dataset(place.development), val=0.2)
    split.write(place.split_file)
    write_predictions(
        place.predictions("val"),
        [
            Prediction(image_id=i, question_id=q, answers=("No",), probability=0.6, model="blip2 tiny")
            for i in split.val()
            for q in range(18)
        ],
    )
    return place


def test_the_papers_policy_by_one_flag_with_the_classes_of_its_table_4(place: Workspace) -> None:
    result = RUNNER.invoke(
        app,
        ["route", "--policy", "paper", "--epochs", "1", "--device", "cpu", "--workspace", str(place.root), "--json"],
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [(each["question_id"], each["model"]) for each in told["decisions"]] == [(16, "resnet34"), (17, "resnet34")]
    for question, classes in ((16, SIZES), (17, TYPES)):
        head = read_config(place.expert("resnet34") / f"question{question}").heads[question]
        assert head.one_of
        assert set(head.classes) == set(classes)
    routed = read_predictions(place.routed("val"))
    assert {each.model for each in routed if each.question_id in (16, 17)} == {"resnet34"}


def test_both_experts_answer_from_one_decoding_of_each_image(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    experts.train_experts(place, [16, 17], epochs=1)
    for cached in place.cache.glob("pixels-*"):
        cached.unlink()
    decoded, decode = [], pixels._decode
    monkeypatch.setattr(pixels, "_decode", lambda example, size: decoded.append(example.image) or decode(example, size))
    answer_with_experts(place)
    answered = read_predictions(place.expert("resnet34") / "val.jsonl")
    assert {each.question_id for each in answered} == {16, 17}
    assert sorted(path.stem for path in decoded) == sorted({each.image_id for each in answered})


def test_training_that_was_stopped_ends_with_the_same_network(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"shared": True, "epochs": 2}
    (folder,) = experts.train_experts(place, [5, 16], **options)  # type: ignore[arg-type]
    whole = (folder / "model.safetensors").read_bytes()
    for path in folder.iterdir():
        path.unlink()
    write, calls = experts.save_weights, []

    def stopped(path: Path, *rest: object) -> None:
        write(path, *rest)  # type: ignore[arg-type]
        calls.append(path.name)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(experts, "save_weights", stopped)
    with pytest.raises(KeyboardInterrupt):
        experts.train_experts(place, [5, 16], **options)  # type: ignore[arg-type]
    experts.train_experts(place, [5, 16], **options)  # type: ignore[arg-type]
    assert (folder / "model.safetensors").read_bytes() == whole
    assert calls == ["state.safetensors", "state.safetensors", "model.safetensors"]
    assert not read_config(folder).heads[5].one_of
    assert set(json.loads((folder / "thresholds.json").read_text())) == {"5"}


def test_what_training_gave_to_rare_classes_is_taken_back() -> None:
    head = Head(classes=("often", "rarely"), sets=(), one_of=True, weights=(1.0, 3.0))
    assert rank_one_of(head, np.array([0.0, np.log(2.0)]))[0].answers == ("often",)


def test_members_are_said_from_the_threshold_on_and_new_sets_are_possible() -> None:
    head = Head(classes=("a", "b", "c"), sets=(("a",), ("b",)), one_of=False, weights=(1.0, 1.0, 1.0))
    logits = np.array([0.5, 0.5, -3.0])
    assert rank_sets(head, logits, 0.5)[0].answers == ("a", "b")
    assert rank_sets(head, logits, 0.8)[0].answers in {("a",), ("b",)}
