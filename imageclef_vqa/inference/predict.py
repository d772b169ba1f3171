"""`medvqa predict`: an answer to every question about every image, from the model that stage 2 left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle

from imageclef_vqa.data import Dataset, load_pixels, read_dataset, read_split
from imageclef_vqa.errors import MedvqaError, MissingStepError
from imageclef_vqa.files import sole_writer
from imageclef_vqa.inference.decoding import beam_search
from imageclef_vqa.inference.grammar import Grammar
from imageclef_vqa.inference.unfinished import Unfinished
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.language import Tokenizer
from imageclef_vqa.models.presets import find_preset
from imageclef_vqa.models.pretrained import load_pretrained, load_trained
from imageclef_vqa.models.vision import normalise
from imageclef_vqa.progress import track
from imageclef_vqa.task import QUESTIONS, Prediction, Vocabulary, write_predictions
from imageclef_vqa.training.checkpoint import MODEL, Stage, file_hash, fingerprint
from imageclef_vqa.training.pairs import pad
from imageclef_vqa.workspace import Workspace

BEAM = 5
IMAGES_AT_ONCE = 16


class Answerer:
    """A trained BLIP-2 with its tokenizer and vocabulary: pictures in, predictions out."""

    def __init__(self, model: Blip2, tokenizer: Tokenizer, vocabulary: Vocabulary, name: str) -> None:
        self.model, self.vocabulary, self.name = model, vocabulary, name
        self._grammars = [Grammar(entry, tokenizer) for entry in vocabulary.questions]
        self._questions = pad([tokenizer.encode(question.text) for question in QUESTIONS])
        model.eval()

    @classmethod
    def of_run(cls, workspace: Workspace) -> Answerer:
        """The answerer that `medvqa finetune --stage 2` left.

        Raises:
            MissingStepError: there is none.
        """
        folder = workspace.stage(2)
        stage = Stage(folder, workspace.shown(folder))
        tensors = stage.trained(2)
        config = stage.config()
        preset = find_preset(config.preset, Path(config.weights_folder) if config.weights_folder else None)
        model, tokenizer = load_pretrained(preset)
        load_trained(model, tensors, str(folder / MODEL))
        return cls(model, tokenizer, stage.vocabulary(), f"blip2 {preset.name}")

    @paddle.no_grad()
    def answer(self, image_ids: list[str], pixels: np.ndarray) -> list[Prediction]:
        """All 18 questions about each image, pixels uint8 [i, h, w, 3]; vision runs once per image."""
        images, asked = len(image_ids), len(QUESTIONS)
        visual = self.model.visual_tokens(normalise(pixels))
        question = paddle.to_tensor(np.tile(self._questions, (images, 1)))
        image_of_pair = paddle.to_tensor(np.repeat(np.arange(images), asked))
        memory = self.model.read(visual, image_of_pair, question, (question != 0).astype("int64"))
        ranked = beam_search(self.model.language, memory, self._grammars * images, BEAM)
        return [
            Prediction(
                image_id=image_ids[pair // asked],
                question_id=pair % asked,
                answers=candidates[0].answers,
                probability=candidates[0].probability,
                candidates=candidates,
                model=self.name,
                trained=self.vocabulary[pair % asked].trained,
            )
            for pair, candidates in enumerate(ranked)
        ]


@dataclass(frozen=True)
class Predicted:
    """What was written: a file per fold, images in it, and how long this call took."""

    files: dict[str, Path]
    images: dict[str, int]
    untrained: tuple[int, ...]
    seconds: float


def predict(workspace: Workspace, *, say: Callable[[str], None]) -> Predicted:
    """Answer the validation fold and, where there is one, the test set; an interrupted call goes on where it stopped.

    Raises:
        MedvqaError: no finished stage 2, or data that cannot be used.
    """
    started = time.monotonic()
    with sole_writer(workspace.run_folder):
        folder = workspace.stage(2)
        if not Stage(folder, workspace.shown(folder)).finished:
            raise MissingStepError(f"no finished stage 2 in {workspace.shown(folder)}", "medvqa finetune --stage 2")
        folds = read_folds(workspace)
        answerer = Answerer.of_run(workspace)
        model = file_hash(folder / MODEL)
        for fold, dataset in folds.items():
            _predict_fold(answerer, dataset, workspace, fold, model, say)
    return Predicted(
        {fold: workspace.predictions(fold) for fold in folds},
        {fold: len(dataset) for fold, dataset in folds.items()},
        answerer.vocabulary.untrained,
        time.monotonic() - started,
    )


def read_folds(workspace: Workspace) -> dict[str, Dataset]:
    """The images to answer, by fold: `val`, and `test` where there is one.

    Raises:
        MedvqaError: the split is not the one that stage 2 was trained on: its validation images may have been learnt.
    """
    folder = workspace.stage(2)
    config = Stage(folder, workspace.shown(folder)).config()
    development = read_dataset(workspace.development, cache=workspace.cache)
    split = read_split(workspace.split_file, development)
    if config.fold >= split.folds or config.training_images != fingerprint(*split.train(config.fold)):
        raise MedvqaError(
            f"{workspace.shown(folder)} was trained on another split than {workspace.shown(workspace.split_file)}",
            remedy="split as before, or train both stages anew",
        )
    folds = {"val": development.subset(split.val(config.fold))}
    if workspace.has_test:
        folds["test"] = read_dataset(workspace.test, cache=workspace.cache, labelled=False)
    return folds


def _predict_fold(
    answerer: Answerer, dataset: Dataset, workspace: Workspace, fold: str, model: str, say: Callable[[str], None]
) -> None:
    image_ids = [example.image_id for example in dataset.examples]
    pixels = load_pixels(dataset, answerer.model.vision.image_size, workspace.cache)
    target = workspace.predictions(fold)
    key = fingerprint(model, dataset.fingerprint, str(IMAGES_AT_ONCE), *image_ids)
    unfinished = Unfinished(target, key, batch=IMAGES_AT_ONCE * len(QUESTIONS))
    done = unfinished.predictions
    if done:
        say(f"{fold}: going on after {len(done) // len(QUESTIONS)} images that were answered before")
    starts = range(len(done) // len(QUESTIONS), len(image_ids), IMAGES_AT_ONCE)
    for start in track(starts, f"predict {fold}", len(starts)):
        part = slice(start, start + IMAGES_AT_ONCE)
        unfinished.add(answerer.answer(image_ids[part], pixels[part]))
    write_predictions(target, unfinished.predictions)
    unfinished.discard()
