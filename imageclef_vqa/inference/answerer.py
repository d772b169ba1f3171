"""A trained BLIP-2 that answers: pixels → ranked answers to all questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import paddle

from imageclef_vqa.checkpoints.language import stored_bits
from imageclef_vqa.checkpoints.pretrained import LANGUAGE, load_pretrained, load_trained
from imageclef_vqa.data import Example
from imageclef_vqa.data.augmentation import PLAIN, View
from imageclef_vqa.editions import QUESTIONS, Vocabulary
from imageclef_vqa.inference.augmentation import VIEWS, mirrored_back
from imageclef_vqa.inference.decoding import FREE_TOKENS, generate, rank_answers
from imageclef_vqa.inference.grammar import Grammar
from imageclef_vqa.inference.ranked import Ranked, mean
from imageclef_vqa.inference.trie import Trie
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.language import Memory, Prompt, Tokenizer
from imageclef_vqa.models.language.adapters import add_adapters
from imageclef_vqa.models.presets import Preset
from imageclef_vqa.planning import Workload, images_at_once, shortage_explained
from imageclef_vqa.training.checkpoint import Stage
from imageclef_vqa.training.config import MODEL
from imageclef_vqa.training.pairs import pad
from imageclef_vqa.workspace import Workspace

KEPT = "the answers so far are kept"


class Answerer:
    """A model with its tokenizer and its allowed answers of at most `longest` tokens (0: no limit).

    Probabilities are averaged over mirrored `views` of each image.
    """

    def __init__(
        self,
        model: Blip2,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        longest: int = 0,
        views: Sequence[View] = (PLAIN,),
    ) -> None:
        self.model, self.tokenizer, self._longest = model, tokenizer, longest or FREE_TOKENS
        self._vocabulary, self._views = vocabulary, views
        self._trie = Trie([Grammar(entry, tokenizer, longest) for entry in vocabulary.questions])
        prompt = Prompt(model.preset.language, tokenizer)
        self._questions = pad([prompt.encode(question.text) for question in QUESTIONS])
        self._at_once = images_at_once(model.preset, *self._questions.shape)
        model.eval()

    @classmethod
    def of_run(cls, workspace: Workspace) -> Answerer:
        """The answerer that `medvqa finetune --stage 2` left.

        Raises:
            MissingStepError: there is none.
            MedvqaError: the device has no memory for it.
        """
        stage = Stage(workspace, 2)
        model, tokenizer, longest = load_stage(stage)
        assert tokenizer is not None, "only open questions are answered by a language model that learnt"
        return cls(model, tokenizer, stage.vocabulary(), longest, stage.config().recipe.views)

    def answer(
        self, pixels: np.ndarray, examples: Sequence[Example], *, free: bool, augment: bool
    ) -> list[list[Ranked]]:
        """Ranked or free answers [image][question]; all images are asked the same questions."""
        return self.generate(pixels) if free else self.rank(pixels, augment)

    def rank(self, pixels: np.ndarray, augmented: bool = False) -> list[list[Ranked]]:
        """The likeliest allowed answers [image][question] for pixels uint8 [i, h, w, 3].

        If `augmented`, probabilities are averaged over several views of each image.
        """
        return self._in_parts(pixels, partial(self._rank, augmented=augmented))

    def generate(self, pixels: np.ndarray) -> list[list[Ranked]]:
        """Free answers [image][question], one string each, which may be outside the vocabulary."""
        return self._in_parts(pixels, self._generate)

    def _in_parts(self, pixels: np.ndarray, answer: Callable[[np.ndarray], list[list[Ranked]]]) -> list[list[Ranked]]:
        """Answer as many images at a time as `medvqa plan` assumes."""
        with shortage_explained(partial(workload, self.model.preset), KEPT):
            starts = range(0, len(pixels), self._at_once)
            return [of_image for start in starts for of_image in answer(pixels[start : start + self._at_once])]

    def _rank(self, pixels: np.ndarray, augmented: bool) -> list[list[Ranked]]:
        changes = VIEWS if augmented else VIEWS[:1]
        views = [self._rank_view(change(pixels), view) for change in changes for view in self._views]
        if len(views) == 1:
            return _by_image(views[0])
        return _by_image([mean([each for each in lists if each]) for lists in zip(*views, strict=True)])

    def _rank_view(self, pixels: np.ndarray, view: View) -> list[Ranked]:
        """Answers to a view of images as answers to the images; none where a location has no name in the vocabulary."""
        seen = np.stack([view.apply(image) for image in pixels])
        questions = np.tile(np.arange(len(QUESTIONS)), len(pixels))
        lists = rank_answers(self.model.language, self._read(seen), self._trie, questions)
        return [
            mirrored_back(view, ranked, self._vocabulary[question])
            for question, ranked in zip(questions.tolist(), lists, strict=True)
        ]

    def _generate(self, pixels: np.ndarray) -> list[list[Ranked]]:
        pairs = len(pixels) * len(QUESTIONS)
        return _by_image(generate(self.model.language, self._read(pixels), self.tokenizer, pairs, self._longest))

    @paddle.no_grad()
    def _read(self, pixels: np.ndarray) -> Memory:
        """Vision and Q-Former once per image, then every question about it."""
        images = len(pixels)
        visual = self.model.encode_features(self.model.vision.read(pixels))
        question = paddle.to_tensor(np.tile(self._questions, (images, 1)))
        image_of_pair = paddle.to_tensor(np.repeat(np.arange(images), len(QUESTIONS)))
        return self.model.read(visual, image_of_pair, question, (question != 0).astype("int64"))


def load_stage(stage: Stage) -> tuple[Blip2, Tokenizer | None, int]:
    """The model of a finished stage 2, the tokenizer that comes with its weights, and the recipe's limit of tokens.

    Raises:
        MissingStepError: the stage is not finished.
        MedvqaError: the device has no memory for it.
    """
    tensors, config = stage.trained(), stage.config()
    preset = config.starting_point()
    with shortage_explained(partial(workload, preset), KEPT):
        model, tokenizer = load_pretrained(preset)
        if config.recipe.adapters is not None:
            add_adapters(model.language, model.preset.language, config.recipe.adapters)
        load_trained(model, tensors, str(stage.folder / MODEL))
    model.share_prefix = config.recipe.share_prefix
    return model, tokenizer, config.recipe.answer_tokens


def workload(preset: Preset) -> Workload:
    bits = stored_bits(preset.file(LANGUAGE))
    return Workload(preset=preset, stage="predict", questions=len(QUESTIONS), language_bits=bits)


def _by_image(lists: list[Ranked]) -> list[list[Ranked]]:
    return [lists[start : start + len(QUESTIONS)] for start in range(0, len(lists), len(QUESTIONS))]
