"""ResNet34 experts: classes, resumed training, answers, and routing with them."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import paddle
import pytest
from formula_weights import spread, weights
from paddle.vision.models import resnet34
from small_dataset import record, write_dataset, write_labels
from small_predictions import write_recorded
from torch_files import write_pth
from typer.testing import CliRunner

from imageclef_vqa.artefacts import ChangedError
from imageclef_vqa.checkpoints.convert import convert
from imageclef_vqa.checkpoints.layers import load_weights, read_weights
from imageclef_vqa.checkpoints.source import open_source
from imageclef_vqa.cli import app
from imageclef_vqa.data import make_split, pixels, read_dataset
from imageclef_vqa.editions import Prediction, read_predictions
from imageclef_vqa.experts import resnet34 as experts
from imageclef_vqa.experts.classical import answer_images
from imageclef_vqa.experts.heads import Head
from imageclef_vqa.experts.resnet34 import read_config, start_from
from imageclef_vqa.experts.resnet34_training import predict_logits
from imageclef_vqa.models.resnet34 import build_expert
from imageclef_vqa.training.state import TrainingFolder
from imageclef_vqa.workspace import Workspace

RUNNER = CliRunner()
FROM_SCRATCH = experts._SIZE
# What torchvision 0.28 on torch 2.13 computes for the weights of `formula_weights`.
PARITY = Path(__file__).parent / "parity" / "resnet34"
pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always track:UserWarning")
SIZES = ("Not relevant", "11-20mm", "5-10mm", ">20mm", "< 5mm")
TYPES = ("Not relevant", "Paris ip", "Paris iia", "Paris is")


def small_network(classes: int) -> paddle.nn.Layer:
    """A network in place of ResNet34, a thousandth of its size."""
    layers = (paddle.nn.Conv2D(3, 8, 3, stride=2), paddle.nn.BatchNorm2D(8), paddle.nn.ReLU())
    return paddle.nn.Sequential(
        *layers, paddle.nn.AdaptiveAvgPool2D(1), paddle.nn.Flatten(), paddle.nn.Linear(8, classes)
    )


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(experts, "_SIZE", 32)
    monkeypatch.setattr(experts, "build_expert", small_network)
    workspace = Workspace.at(tmp_path)
    write_dataset(workspace.development, 30)
    write_labels(
        workspace.development,
        [
            record(f"image{n}", q16=[SIZES[n % 5]], q17=[TYPES[n % 4]], q5=["Red", "Pink"][: 1 + n % 2])
            for n in range(30)
        ],
    )
    split = make_split(read_dataset(workspace.development), val=0.2)
    split.write(workspace.split_file)
    write_recorded(
        workspace.predictions("val"),
        [
            Prediction(image_id=i, question_id=q, answers=("No",), probability=0.6, model="blip2 tiny")
            for i in split.val()
            for q in range(18)
        ],
    )
    return workspace


def test_the_papers_policy_by_one_flag_with_the_classes_of_its_table_4(workspace: Workspace) -> None:
    result = RUNNER.invoke(
        app,
        [
            "route",
            "--policy",
            "paper",
            "--epochs",
            "1",
            "--device",
            "cpu",
            "--workspace",
            str(workspace.root),
            "--json",
        ],
    )
    assert result.exit_code == 0, result.output
    output = json.loads(result.stdout)
    assert [(each["question_id"], each["model"]) for each in output["decisions"]] == [
        (16, "resnet34"),
        (17, "resnet34"),
    ]
    for question, classes in ((16, SIZES), (17, TYPES)):
        head = read_config(workspace.expert("resnet34") / f"question{question}").heads[question]
        assert head.one_of
        assert set(head.classes) == set(classes)
    routed = read_predictions(workspace.routed("val"))
    assert {each.model for each in routed if each.question_id in (16, 17)} == {"resnet34"}


def test_pixels_are_normalised_with_the_statistics_of_imagenet() -> None:
    seen = []

    class Network(paddle.nn.Layer):
        def forward(self, planes: paddle.Tensor) -> paddle.Tensor:
            seen.append(planes.numpy())
            return planes.mean(axis=[2, 3])

    predict_logits(Network(), np.full((1, 2, 2, 3), (0, 128, 255), np.uint8))
    expected = (np.array([0, 128, 255]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(seen[0][0, :, 0, 0], expected, rtol=1e-5)


def test_both_experts_answer_from_one_decoding_of_each_image(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    experts.fit(workspace, [16, 17], epochs=1)
    for cached in workspace.cache.glob("pixels-*"):
        cached.unlink()
    decoded, decode = [], pixels._decode
    monkeypatch.setattr(pixels, "_decode", lambda example, size: decoded.append(example.image) or decode(example, size))
    experts.answer(workspace)
    answered = read_predictions(workspace.expert("resnet34") / "val.jsonl")
    assert {each.question_id for each in answered} == {16, 17}
    assert sorted(path.stem for path in decoded) == sorted({each.image_id for each in answered})


def test_both_kinds_of_expert_learn_and_answer_from_one_decoding_of_each_image(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experts, "_SIZE", FROM_SCRATCH)
    decoded, decode = [], pixels._decode
    monkeypatch.setattr(pixels, "_decode", lambda example, size: decoded.append(example.image) or decode(example, size))
    answer_images(workspace)
    experts.fit(workspace, [16], epochs=1)
    experts.answer(workspace)
    assert sorted(path.stem for path in decoded) == sorted(f"image{n}" for n in range(30))


def test_resumed_training_ends_with_the_same_network(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"shared": True, "epochs": 2}
    (folder,) = experts.fit(workspace, [5, 16], **options)  # type: ignore[arg-type]
    whole = (folder / "model.safetensors").read_bytes()
    for path in folder.iterdir():
        path.unlink()
    save, saved = TrainingFolder.save_state, []

    def stopped(stage: TrainingFolder, *state: object) -> None:
        save(stage, *state)  # type: ignore[arg-type]
        saved.append(stage.folder)
        if len(saved) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingFolder, "save_state", stopped)
    with pytest.raises(KeyboardInterrupt):
        experts.fit(workspace, [5, 16], **options)  # type: ignore[arg-type]
    experts.fit(workspace, [5, 16], **options)  # type: ignore[arg-type]
    assert (folder / "model.safetensors").read_bytes() == whole
    assert saved == [folder, folder]
    assert not (folder / "state.safetensors").exists()
    assert not read_config(folder).heads[5].one_of
    assert set(json.loads((folder / "thresholds.json").read_text())) == {"5"}


def test_a_network_that_was_changed_never_answers_and_is_trained_again_only_by_training(workspace: Workspace) -> None:
    (folder,) = experts.fit(workspace, [16], epochs=1)
    experts.answer(workspace)
    told: list[str] = []
    experts.answer(workspace, notify=told.append)
    assert not told  # the same networks, the same images
    model = folder / "model.safetensors"
    whole = model.read_bytes()
    model.write_bytes(whole[:-9] + bytes([whole[-9] ^ 64]) + whole[-8:])
    for use in (experts.answer, experts.load_expert):
        with pytest.raises(ChangedError) as refused:
            use(workspace)
        assert "question16/model.safetensors is not the file that was finished" in str(refused.value)
        assert f"route --expert resnet34 --workspace {workspace.root}` trains it again" in str(refused.value)
    experts.fit(workspace, [16], epochs=1, notify=told.append)
    assert "its content has changed; it is trained again" in told[0]
    assert model.read_bytes() == whole


def test_a_softmax_corrects_for_the_weights_of_rare_classes() -> None:
    head = Head(classes=("often", "rarely"), sets=(), one_of=True, weights=(1.0, 3.0))
    assert head.rank(np.array([0.0, np.log(2.0)]), 0.5)[0].answers == ("often",)


def test_classes_above_the_threshold_are_answered_also_as_a_new_set() -> None:
    head = Head(classes=("a", "b", "c"), sets=(("a",), ("b",)), one_of=False, weights=(1.0, 1.0, 1.0))
    logits = np.array([0.5, 0.5, -3.0])
    assert head.rank(logits, 0.5)[0].answers == ("a", "b")
    assert head.rank(logits, 0.8)[0].answers in {("a",), ("b",)}


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `.pth` file in torchvision's names with the weights for which torchvision's outputs are kept."""
    network = resnet34(num_classes=7)
    theirs = {"_mean": "running_mean", "_variance": "running_var"}
    shapes = {}
    for name, tensor in network.state_dict().items():
        stem, _, last = name.rpartition(".")
        shapes[f"{stem}.{theirs.get(last, last)}"] = tuple(tensor.shape[::-1] if name == "fc.weight" else tensor.shape)
    shapes["bn1.num_batches_tracked"] = ()
    file = tmp_path_factory.mktemp("imagenet") / "resnet34.pth"
    write_pth(file, weights(shapes))
    return file


def outputs(network: paddle.nn.Layer) -> dict[str, np.ndarray]:
    network.eval()
    features = []
    hook = network.avgpool.register_forward_post_hook(lambda _layer, _given, made: features.append(made.flatten(1)))
    with paddle.no_grad():
        logits = network(paddle.to_tensor(2 * spread("pixels", (2, 3, 96, 96))))
    hook.remove()
    return {"features": features[0].numpy(), "logits": logits.numpy()}


def test_a_converted_resnet34_computes_what_torchvision_does(imagenet: Path, tmp_path: Path) -> None:
    convert(open_source(imagenet), tmp_path / "w")
    network = build_expert(7)
    load_weights(network, read_weights(tmp_path / "w" / "resnet34.safetensors"), "w")
    expected = read_weights(PARITY / "expected.safetensors")
    ours = outputs(network)
    for name, array in expected.items():
        np.testing.assert_allclose(ours[name], array, rtol=0, atol=1e-4)
    for block, kind in (("layer2.0.bn", "bias"), ("layer1.2.bn", "_mean"), ("layer4.1.conv", "weight")):
        state = network.state_dict()
        one, other = f"{block}1.{kind}", f"{block}2.{kind}"
        kept = {one: state[one].clone(), other: state[other].clone()}
        network.set_state_dict(state | {one: kept[other], other: kept[one]})
        assert np.abs(outputs(network)["features"] - expected["features"]).max() > 1e-2
        network.set_state_dict(network.state_dict() | kept)


def test_a_conversion_has_a_few_tensors_in_memory_at_a_time(imagenet: Path, tmp_path: Path) -> None:
    largest = 512 * 512 * 3 * 3 * 4
    tracemalloc.start()
    convert(open_source(imagenet), tmp_path / "w")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert largest < peak < 3.5 * largest < 0.4 * imagenet.stat().st_size


def test_an_expert_starts_from_a_pth_file_or_a_converted_folder_with_a_new_head(imagenet: Path, tmp_path: Path) -> None:
    convert(open_source(imagenet), tmp_path / "w")
    expected = read_weights(PARITY / "expected.safetensors")["features"]
    for place in (imagenet, tmp_path / "w"):
        network = build_expert(3)
        start_from(network, place)
        np.testing.assert_allclose(outputs(network)["features"], expected, rtol=0, atol=1e-4)


def test_route_reads_torchvisions_file_without_unpickling(
    workspace: Workspace, imagenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experts, "_SIZE_PRETRAINED", 32)
    monkeypatch.setattr(experts, "build_expert", build_expert)
    ordered = ["route", "--policy", "paper", "--questions", "16", "--epochs", "1", "--train-only", "--device", "cpu"]
    ordered += ["--workspace", str(workspace.root), "--weights"]
    done = RUNNER.invoke(app, [*ordered, str(imagenet)])
    assert done.exit_code == 0, done.output
    assert read_config(workspace.expert("resnet34") / "question16").weights
    write_pth(tmp_path / "evil.pth", {}, b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00truetR.")
    refused = RUNNER.invoke(app, [*ordered, str(tmp_path / "evil.pth")])
    assert refused.exit_code == 1
    assert "evil.pth: refused: it asks for os.system" in refused.stderr
