"""What the ResNet34 experts answer: `experts/resnet34/{val,test}.jsonl`, read by `medvqa route`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from imageclef_vqa.checkpoints.layers import load_weights, read_weights
from imageclef_vqa.data import Dataset, load_pixels, read_dataset, read_split
from imageclef_vqa.editions import Candidate, Prediction, read_predictions, write_predictions
from imageclef_vqa.errors import MedvqaError, MissingStepError
from imageclef_vqa.experts.training import NAME, ExpertConfig, Head, forward, needed, read_config
from imageclef_vqa.files import sole_writer
from imageclef_vqa.models.resnet34 import build_expert
from imageclef_vqa.planning import expert_shortage_explained
from imageclef_vqa.training.config import fingerprint
from imageclef_vqa.workspace import Workspace

_CANDIDATES = 5


def answer_with_experts(workspace: Workspace, *, notify: Callable[[str], None] = lambda message: None) -> None:
    """Let every finished ResNet34 expert of the run answer the validation and the test images.

    A question that both a network of its own and a shared one answer is the own one's.

    Raises:
        MissingStepError: there is none.
        MedvqaError: one was trained on another split: it may have seen the validation images.
    """
    with sole_writer(workspace.run_folder):
        done = sorted(path.parent for path in workspace.expert(NAME).glob("*/thresholds.json"))
        if not done:
            raise MissingStepError(
                f"no trained ResNet34 expert in {workspace.shown(workspace.expert(NAME))}",
                "medvqa route --expert resnet34",
            )
        dataset = read_dataset(workspace.development, cache=workspace.cache)
        split = read_split(workspace.split_file, dataset)
        fold = split.fold_of({each.image_id for each in read_predictions(workspace.predictions("val"))})
        folds = {"val": dataset.subset(split.val(fold))}
        if workspace.has_test:
            folds["test"] = read_dataset(workspace.test, cache=workspace.cache, labelled=False)
        configs = {folder: read_config(folder) for folder in done}
        for folder, config in configs.items():
            if config.training_images != fingerprint(*split.train(fold)):
                raise MedvqaError(
                    f"{workspace.shown(folder)} was trained on another split", remedy="`medvqa route --expert resnet34`"
                )
        for name, images in folds.items():
            answers: dict[tuple[str, int], Prediction] = {}
            for folder, config in configs.items():
                answers = _answers(folder, config, images, workspace) | answers
            write_predictions(workspace.expert(NAME) / f"{name}.jsonl", answers.values())
            notify(f"{NAME}: {len(images)} images of {name}")


def _answers(
    folder: Path, config: ExpertConfig, images: Dataset, workspace: Workspace
) -> dict[tuple[str, int], Prediction]:
    pixels = load_pixels(images, config.image_size, workspace.cache)
    with expert_shortage_explained(needed(config.image_size, learns=False), "the trained experts are whole"):
        network = build_expert(sum(len(head.classes) for head in config.heads.values()))
        load_weights(network, read_weights(folder / "model.safetensors"), str(folder / "model.safetensors"))
        logits = forward(network, pixels)
    thresholds = json.loads((folder / "thresholds.json").read_text(encoding="utf-8"))
    answers = {}
    for question, columns in config.columns().items():
        head, threshold = config.heads[question], thresholds.get(str(question), 0.5)
        for example, row in zip(images.examples, logits[:, columns].astype(np.float64), strict=True):
            ranked = rank_one_of(head, row) if head.one_of else rank_sets(head, row, threshold)
            answers[example.image_id, question] = Prediction(
                image_id=example.image_id,
                question_id=question,
                answers=ranked[0].answers,
                probability=ranked[0].probability,
                candidates=ranked,
                model=NAME,
            )
    return answers


def rank_one_of(head: Head, logits: np.ndarray) -> tuple[Candidate, ...]:
    """The likeliest classes, what the loss gave to rare ones taken back."""
    own = logits - np.log(head.weights)
    return _best([(name,) for name in head.classes], own)


def rank_sets(head: Head, logits: np.ndarray, threshold: float) -> tuple[Candidate, ...]:
    """The likeliest of the sets seen in training and the set of all members above the threshold, members being
    independent of each other."""
    own = logits - np.log(threshold / (1 - threshold))
    above = tuple(name for name, value in zip(head.classes, own, strict=True) if value > 0)
    sets = list(dict.fromkeys([*head.sets, *([above] if above else [])], None))
    said = np.array([[name in members for name in head.classes] for members in sets])
    return _best(sets, np.where(said, -np.logaddexp(0, -own), -np.logaddexp(0, own)).sum(axis=1))


def _best(sets: list[tuple[str, ...]], logits: np.ndarray) -> tuple[Candidate, ...]:
    odds = np.exp(logits - logits.max())
    chances = odds / odds.sum()
    order = np.argsort(-chances, kind="stable")[:_CANDIDATES]
    return tuple(Candidate(answers=sets[at], probability=float(chances[at])) for at in order)
