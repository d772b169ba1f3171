"""The ResNet34 experts: a network for each question, as in the paper (section 3.3), or one for all questions.

experts/resnet34/<question16 | shared>/
    config.json         questions, classes, and what the network was trained from
    log.jsonl           a line per epoch
    state.safetensors   network and optimiser after the last epoch, while training is unfinished
    model.safetensors   the trained network
    thresholds.json     for questions with sets as answers: the probability above which a class belongs to the set
    record.json         hashes of the finished network's files, which are checked before it answers
experts/resnet34/val.jsonl, test.jsonl   ranked answers of all networks
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from pydantic import BaseModel, ConfigDict

from imageclef_vqa.artefacts import check_artefact, record_folder, record_path
from imageclef_vqa.checkpoints.convert import plan_conversion
from imageclef_vqa.checkpoints.layers import load_weights, read_weights
from imageclef_vqa.checkpoints.source import open_source
from imageclef_vqa.data import Dataset, load_pixels
from imageclef_vqa.editions import Candidate, learn_vocabulary
from imageclef_vqa.errors import MedvqaError, MissingStepError
from imageclef_vqa.experts.answers import (
    RESNET34,
    Expert,
    Pair,
    RankedAnswers,
    has_answered,
    read_expert_images,
    require_unchanged,
    write_answers,
)
from imageclef_vqa.experts.heads import Head, learn_head
from imageclef_vqa.experts.resnet34_training import EPOCHS, THRESHOLDS, memory_needed, predict_logits, train
from imageclef_vqa.files import write_text
from imageclef_vqa.inputs import read_json, read_model, sha256
from imageclef_vqa.locks import run_writer
from imageclef_vqa.models.resnet34 import STATISTICS, build_expert
from imageclef_vqa.planning import expert_shortage_explained
from imageclef_vqa.training.config import BEST, CONFIG, LOG, MODEL, STATE, fingerprint
from imageclef_vqa.workspace import Workspace

_SIZE, _SIZE_PRETRAINED = 128, 224
_COMMAND = "medvqa route --expert resnet34"
_HEAD = ("fc.weight", "fc.bias")


class ExpertConfig(BaseModel):
    """What a network was trained from; its training is resumed, and it is used, only if all of this is the same."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    heads: dict[int, Head]  # by question id; their classes are the network's outputs, side by side
    image_size: int
    statistics: str  # that normalise pixels
    epochs: int
    seed: int
    data: str
    training_images: str
    weights: str | None

    @property
    def num_classes(self) -> int:
        return sum(len(head.classes) for head in self.heads.values())


def fit(
    workspace: Workspace,
    questions: Sequence[int],
    *,
    weights: Path | None = None,
    shared: bool = False,
    epochs: int | None = None,
    seed: int = 0,
    notify: Callable[[str], None] = lambda message: None,
) -> list[Path]:
    """Train a network for each question, or a `shared` one, on the run's training images; returns their folders.

    A finished network made from the same configuration is kept, and unfinished training is resumed. A network whose
    files have changed is trained again. Questions without training answers are left out.

    Raises:
        MissingStepError: there is no split, or there are no predictions.
        MedvqaError: data or weights cannot be used, or a loss is not finite.
    """
    with run_writer(workspace.run_folder):
        images = read_expert_images(workspace)
        vocabulary = learn_vocabulary(images.training.labels())
        answered = [question for question in questions if vocabulary[question].trained]
        folders = []
        for group in [answered] if shared and answered else [[question] for question in answered]:
            config = ExpertConfig(
                heads={question: learn_head(vocabulary[question].sets) for question in group},
                image_size=_SIZE if weights is None else _SIZE_PRETRAINED,
                statistics=STATISTICS,
                epochs=epochs or EPOCHS,
                seed=seed,
                data=images.training.fingerprint,
                training_images=fingerprint(*images.training.image_ids),
                weights=None if weights is None else fingerprint(*map(sha256, open_source(weights).files)),
            )
            folder = workspace.expert(RESNET34) / ("shared" if shared else f"question{group[0]}")
            folders.append(folder)
            if _prepare(folder, config, workspace.shown(folder), notify):
                continue
            paddle.seed(seed)
            pixels = load_pixels(images.training, config.image_size, workspace.cache)
            kept = f"the last epoch that was saved in {workspace.shown(folder)} is complete"
            with expert_shortage_explained(memory_needed(config.image_size), kept):
                network = build_expert(config.num_classes)
                if weights is not None:
                    start_from(network, weights)
                train(folder, network, config.heads, images, pixels, config.epochs, seed, workspace.shown(folder))
            _record(folder, images.inputs("val"))
            heaviest = max(max(head.weights) for head in config.heads.values())
            notify(
                f"{workspace.shown(folder)}: {config.epochs} epochs; the rarest answer has {heaviest:.1f} times the "
                "weight of the most frequent one"
            )
    return folders


def _record(folder: Path, inputs: Mapping[str, str]) -> None:
    record_folder(folder, (CONFIG, MODEL, THRESHOLDS), command="route --expert resnet34", inputs=inputs)


def _prepare(folder: Path, config: ExpertConfig, shown: str, notify: Callable[[str], None]) -> bool:
    """Whether the folder has the finished network; whatever another configuration left there is removed."""
    finished = (folder / MODEL).exists()
    try:
        if finished:
            check_artefact(folder, shown, "")
        if (folder / CONFIG).exists() and read_config(folder) == config:
            return finished
    except MedvqaError as error:  # changed, damaged, or written by an earlier version
        notify(f"{error.what}; it is trained again")
    for path in (record_path(folder), *(folder / name for name in (STATE, BEST, MODEL, THRESHOLDS, LOG))):
        path.unlink(missing_ok=True)
    write_text(folder / CONFIG, config.model_dump_json(indent=1) + "\n")
    return False


def start_from(network: nn.Layer, weights: Path) -> None:
    """Give `network` the weights of an ImageNet ResNet34, except for the last layer.

    Raises:
        MedvqaError: `weights`, a file or folder as `medvqa weights convert` reads it, is damaged or no ResNet34.
    """
    conversion = plan_conversion(open_source(weights))
    if (tensors := conversion.parts.get("resnet34")) is None:
        raise MedvqaError(f"{weights} holds no ResNet34 ({conversion.format})")
    body = {name: tensor for name, tensor in tensors.items() if name not in _HEAD}
    load_weights(network, body, str(weights), absent=_HEAD)


def read_config(folder: Path) -> ExpertConfig:
    """The configuration of a network.

    Raises:
        MedvqaError: it is damaged.
    """
    return read_model(folder / CONFIG, ExpertConfig, "remove that folder")


def answer(workspace: Workspace, *, notify: Callable[[str], None] = lambda message: None) -> None:
    """Let every finished network of the run answer the validation and test images.

    Answers of the same networks to the same images are kept.

    Raises:
        MissingStepError: there is no finished network, no split, or there are no predictions.
        ChangedError: a network's files are not those that were finished.
        MedvqaError: a network was trained on another split, so it may have seen the validation images.
    """
    with run_writer(workspace.run_folder):
        networks, settings = _networks(workspace)
        images = read_expert_images(workspace)
        for folder, config in networks.items():
            if config.training_images != fingerprint(*images.training.image_ids):
                raise MedvqaError(
                    f"{workspace.shown(folder)} was trained on another split",
                    remedy=f"`{workspace.typed(_COMMAND)}` trains it on this one",
                )
        if has_answered(workspace, RESNET34, images, settings, notify):
            return
        for name, dataset in images.answered.items():
            answers = _answers(networks, dataset, workspace.cache)
            write_answers(workspace, RESNET34, name, answers, images, settings)
            notify(f"{RESNET34}: {len(dataset)} images of {name}")


def load_expert(workspace: Workspace) -> Expert:
    """The networks that answered the validation images of the run, to answer further images.

    Raises:
        MissingStepError: there is no finished network.
        ChangedError: a network has changed since it answered; or its answers are damaged.
    """
    networks, settings = _networks(workspace)
    require_unchanged(workspace, RESNET34, read_expert_images(workspace), settings)
    return lambda dataset, cache: _answers(networks, dataset, cache)


def _networks(workspace: Workspace) -> tuple[dict[Path, ExpertConfig], dict[str, Any]]:
    """The finished networks by folder, and their digests, on which answers depend; their files are checked.

    A question that has a network of its own is answered by it, not by the shared one, whose folder comes last.
    """
    folders = sorted(path.parent for path in workspace.expert(RESNET34).glob(f"*/{MODEL}"))
    if not folders:
        where = workspace.shown(workspace.expert(RESNET34))
        raise MissingStepError(f"no trained ResNet34 expert in {where}", workspace.typed(_COMMAND))
    remedy = f"`{workspace.typed(_COMMAND)}` trains it again"
    digests = {folder.name: check_artefact(folder, workspace.shown(folder), remedy).digest for folder in folders}
    return {folder: read_config(folder) for folder in folders}, {"networks": digests}


def _answers(networks: Mapping[Path, ExpertConfig], dataset: Dataset, cache: Path | None) -> RankedAnswers:
    """The networks' ranked answers to the images; the first one that answers a question counts."""
    answers: dict[Pair, tuple[Candidate, ...]] = {}
    for folder, config in networks.items():
        answers = {**_answers_of(folder, config, dataset, cache), **answers}
    return answers


def _answers_of(folder: Path, config: ExpertConfig, dataset: Dataset, cache: Path | None) -> RankedAnswers:
    """A network's ranked answers to the images."""
    pixels = load_pixels(dataset, config.image_size, cache)
    needed = memory_needed(config.image_size, training=False)
    with expert_shortage_explained(needed, "the trained experts are complete"):
        network = build_expert(config.num_classes)
        load_weights(network, read_weights(folder / MODEL), str(folder / MODEL))
        logits = predict_logits(network, pixels).astype(np.float64)
    thresholds = read_json(folder / THRESHOLDS)
    ends = np.cumsum([len(head.classes) for head in config.heads.values()])[:-1]
    return {
        (example.image_id, question): head.rank(row, thresholds.get(str(question), 0.5))
        for (question, head), own in zip(config.heads.items(), np.split(logits, ends, axis=1), strict=True)
        for example, row in zip(dataset.examples, own, strict=True)
    }
