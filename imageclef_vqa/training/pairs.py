"""From labels to token ids: what of an image is asked and answered, and batches of it.

n pairs of image and question, t question tokens, a answer tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from imageclef_vqa.data import Dataset
from imageclef_vqa.data.augmentation import PLAIN, View, draw_view
from imageclef_vqa.editions import QUESTIONS, Vocabulary
from imageclef_vqa.models.language import Tokenizer


def pad(sequences: list[list[int]], widen: Callable[[int], int] = int) -> np.ndarray:
    """Token ids [n, what `widen` makes of the longest], filled up with the pad token."""
    width = widen(max(map(len, sequences)))
    return np.array([ids + [Tokenizer.pad] * (width - len(ids)) for ids in sequences], dtype="int64")


@dataclass(frozen=True)
class Pair:
    """One question of one image: its id, and its answer as the vocabulary's canonical set, as the tokens to say it,
    and as the tokens of its members alone; `whole` unless members were dropped to keep it short."""

    question_id: int
    answer: tuple[str, ...]
    tokens: list[int]
    members: list[int]
    whole: bool = True


@dataclass(frozen=True)
class Batch:
    """Images by their place in the data set, each in one view, and n pairs that point into them."""

    images: np.ndarray  # [i]
    image_of_pair: np.ndarray  # [n]
    pairs: list[Pair]  # what is true of the image in its view
    views: tuple[View, ...]  # [i]

    def part(self, places: np.ndarray) -> Batch:
        """The images at these places, in this order, with their pairs."""
        if len(places) == len(self.images):
            return self
        return PairTable.batch(
            self.images[places],
            [[self.pairs[pair] for pair in np.flatnonzero(self.image_of_pair == place)] for place in places],
            [self.views[place] for place in places],
        )


class PairTable:
    """All pairs of a data set, image by image, answers that the vocabulary cannot say left out.

    Answers longer than `longest` tokens (0: any) lose members at the end until they fit. With `augment` every epoch
    sees images in random views, with the answers that are true there.
    """

    def __init__(
        self, dataset: Dataset, vocabulary: Vocabulary, tokenizer: Tokenizer, *, longest: int = 0, augment: bool = False
    ) -> None:
        self.questions = [tokenizer.encode(question.text) for question in QUESTIONS]
        self._topics = [tokenizer.encode(question.topic) for question in QUESTIONS]
        self._vocabulary, self._tokenizer, self._longest, self._augment = vocabulary, tokenizer, longest, augment
        self.of_image: list[list[Pair]] = []
        self.unsayable = Counter[int]()  # pairs left out, by question
        for example in dataset.examples:
            pairs = []
            for question_id, answers in example.answers.items():
                try:
                    pairs.append(self._pair(question_id, answers))
                except KeyError:
                    self.unsayable[question_id] += 1
            self.of_image.append(pairs)
        self.answered = np.array([image for image, pairs in enumerate(self.of_image) if pairs], dtype="int64")

    def seen(self, image: int, view: View) -> list[Pair]:
        """The pairs of an image in a view.

        Raises:
            KeyError: the vocabulary cannot say what is true there.
        """
        if view.turn == 0:
            return self.of_image[image]
        members = self._vocabulary.questions
        return [
            self._pair(pair.question_id, view.answers(pair.question_id, pair.answer, members[pair.question_id].members))
            if QUESTIONS[pair.question_id].asks == "location"
            else pair
            for pair in self.of_image[image]
        ]

    def _pair(self, question_id: int, answers: tuple[str, ...]) -> Pair:
        whole = answer = self._vocabulary[question_id].canonical(answers)
        tokens = self._tokenizer.encode_answer(answer)
        while self._longest and len(tokens) > self._longest and len(answer) > 1:
            answer = answer[:-1]
            tokens = self._tokenizer.encode_answer(answer)
        members = [token for member in answer for token in self._tokenizer.encode(member)]
        return Pair(question_id, answer, tokens, members, answer == whole)

    def statement(self, pair: Pair) -> list[int]:
        """The words of the statement that answers a pair's question: what it is about, and the answer's members."""
        return self._topics[pair.question_id] + pair.members

    def epoch(self, batch: int, questions: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Every image that has pairs once, in random order, each with at most `questions` of them."""
        order = rng.permutation(self.answered)
        for start in range(0, len(order), batch):
            images = order[start : start + batch]
            views = [self._draw_view(image, rng) if self._augment else PLAIN for image in images]
            drawn = [
                self._draw(self.seen(image, view), questions, rng) for image, view in zip(images, views, strict=True)
            ]
            yield self.batch(images, drawn, views)

    def all(self, batch: int) -> Iterator[Batch]:
        """Every pair once, in order."""
        for start in range(0, len(self.answered), batch):
            images = self.answered[start : start + batch]
            yield self.batch(images, [self.of_image[image] for image in images])

    def batches(self, batch: int) -> int:
        """How many batches an epoch has."""
        return -(-len(self.answered) // batch)

    @staticmethod
    def batch(images: np.ndarray, pairs: Sequence[list[Pair]], views: Sequence[View] | None = None) -> Batch:
        """The batch of these images, each with its list of pairs, and as it is where no views are given."""
        counts = [len(of_image) for of_image in pairs]
        seen = tuple(views) if views is not None else (PLAIN,) * len(images)
        return Batch(images, np.repeat(np.arange(len(images)), counts), [pair for each in pairs for pair in each], seen)

    def _draw_view(self, image: int, rng: np.random.Generator) -> View:
        view = draw_view([pair.question_id for pair in self.of_image[image]], rng)
        try:
            self.seen(image, view)
        except KeyError:  # a place has no name there
            return replace(view, turn=0)
        return view

    @staticmethod
    def _draw(pairs: list[Pair], questions: int, rng: np.random.Generator) -> list[Pair]:
        if len(pairs) <= questions:
            return pairs
        return [pairs[place] for place in sorted(rng.choice(len(pairs), questions, replace=False))]
