"""Sentences: a trained BLIP-2 that answers open questions, and the choice among the sentences that it finds.

Beam search lists the likeliest sentences with their probabilities, which are mixed with those of training's sentences
about similar pictures (`training.neighbours`). The likeliest one is not always the best answer: several sentences may
say the same thing in different words. The one with the highest expected score (minimum Bayes risk; Kumar and Byrne
2004) is the one that agrees most with all of them. Validation decides between the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import paddle

from imageclef_vqa.data import Example
from imageclef_vqa.data.batches import bounded_batches
from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.editions.rankings import pool
from imageclef_vqa.errors import MissingStepError
from imageclef_vqa.inference.answerer import KEPT, load_stage, workload
from imageclef_vqa.inference.decoding import NO_ANSWER
from imageclef_vqa.inference.generation import Sentence, beam_search
from imageclef_vqa.inference.ranked import Ranked
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.language import Prompt, Tokenizer
from imageclef_vqa.planning import images_at_once, shortage_explained
from imageclef_vqa.training.checkpoint import Stage
from imageclef_vqa.training.config import NEIGHBOURS
from imageclef_vqa.training.neighbours import Neighbours
from imageclef_vqa.training.pairs import pad
from imageclef_vqa.workspace import Workspace

BEAM = 8
MAX_TOKENS = 128  # of a sentence; the longest of Kvasir-VQA-x1 has about 100
_QUESTION_TOKENS = 32
_SHARES = (0.5, 0.5)  # of the model and of training's sentences, from `examples/experiments.md`


class SentenceAnswerer:
    """A model with its tokenizer and training's sentences; its own have at most `longest` tokens (0: 128)."""

    def __init__(
        self, model: Blip2, tokenizer: Tokenizer, longest: int = 0, neighbours: Neighbours | None = None
    ) -> None:
        self.model, self.tokenizer, self._longest = model, tokenizer, longest or MAX_TOKENS
        self._neighbours = neighbours
        self._images = images_at_once(model.preset, len(QUESTIONS), _QUESTION_TOKENS)
        model.eval()

    @classmethod
    def of_run(cls, workspace: Workspace) -> SentenceAnswerer:
        """The answerer that `medvqa finetune --stage 2` left.

        Raises:
            MissingStepError: there is none, or it is of an older version, without training's sentences.
            MedvqaError: the device has no memory for it.
        """
        stage = Stage(workspace, 2)
        if missing := set(NEIGHBOURS) - stage.check().files.keys():
            raise MissingStepError(f"no {min(missing)} in {stage.shown}", f"{stage.command} --fresh")
        model, tokenizer, longest = load_stage(stage)
        return cls(model, tokenizer or stage.tokenizer(), longest, Neighbours.read(stage.folder))

    def answer(
        self, pixels: np.ndarray, examples: Sequence[Example], *, free: bool, augment: bool
    ) -> list[list[Ranked]]:
        """Sentences [image][question] for the open questions of `examples`."""
        return self.rank(pixels, [[each.text for each in example.questions.values()] for example in examples])

    def rank(self, pixels: np.ndarray, questions: Sequence[Sequence[str]], beam: int = BEAM) -> list[list[Ranked]]:
        """The likeliest sentences [image][question] for pixels uint8 [i, h, w, 3] and the questions about each image.

        As many pairs are computed at once as `medvqa plan` assumes for closed questions.
        """
        answers: list[list[Ranked]] = [[] for _ in questions]
        with shortage_explained(partial(workload, self.model.preset), KEPT):
            counts = list(map(len, questions))
            limit = self._images * len(QUESTIONS)
            for parts in bounded_batches(range(len(counts)), counts, images=self._images, most=limit):
                asked = [questions[image][part] for image, part in parts]
                found = iter(self._rank(pixels[[image for image, _ in parts]], asked, beam))
                for (image, _), texts in zip(parts, asked, strict=True):
                    answers[image] += [next(found) for _ in texts]
        return answers

    @paddle.no_grad()
    def _rank(self, pixels: np.ndarray, asked: Sequence[Sequence[str]], beam: int) -> list[Ranked]:
        """Vision and Q-Former once per image, then every question about it."""
        model, tokenizer = self.model, self.tokenizer
        prompt = Prompt(model.preset.language, tokenizer)
        features = model.vision.read(pixels)
        visual = model.encode_features(features)
        question = pad([prompt.encode(text) for texts in asked for text in texts])
        image_of_pair = np.repeat(np.arange(len(asked)), list(map(len, asked)))
        mask = paddle.to_tensor((question != Tokenizer.pad).astype("int64"))
        memory = model.read(visual, paddle.to_tensor(image_of_pair), paddle.to_tensor(question), mask)
        found = beam_search(model.language, memory, len(question), tokenizer.end, beam, self._longest)
        ranked = [_ranked(tokenizer, sentences) for sentences in found]
        if self._neighbours is None:
            return ranked
        described = self._neighbours.describe(features.numpy())
        texts = (text for of_image in asked for text in of_image)
        near = [self._neighbours.rank(described[image], text) for image, text in zip(image_of_pair, texts, strict=True)]
        return [pool((_normalised(own), theirs), _SHARES) for own, theirs in zip(ranked, near, strict=True)]


def _ranked(tokenizer: Tokenizer, sentences: Iterable[Sentence]) -> Ranked:
    """Texts with their probabilities; those of equal texts are added."""
    total: dict[str, float] = {}
    for tokens, log_prob in sentences:
        try:
            text = tokenizer.decode(tokens).strip()
        except IndexError:  # an id without a piece: the vocabulary is rounded up
            text = ""
        total[text] = total.get(text, 0.0) + float(np.exp(log_prob))
    if len(total) > 1:
        total.pop("", None)
    ranked = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    return tuple(((text or NO_ANSWER,), min(1.0, probability)) for text, probability in ranked)


def _normalised(ranked: Ranked) -> Ranked:
    """With probabilities of sum 1: what beam search does not list is left out."""
    total = sum(probability for _, probability in ranked)
    return tuple((sentence, probability / total if total else 1 / len(ranked)) for sentence, probability in ranked)
