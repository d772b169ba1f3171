"""From labels to token ids: what of an image is asked and answered, and batches of it.

n pairs of image and question, t question tokens, a answer tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from imageclef_vqa.data import Dataset
from imageclef_vqa.models.language import Tokenizer
from imageclef_vqa.task import QUESTIONS, Vocabulary

# What a statement is about, in as few words as tell the 18 questions apart.
TOPICS = (
    *("procedure", "removed", "easy", "box", "text", "abnormality color", "landmark color", "findings", "polyps"),
    *("instrumnets", "where abnormality", "where instrument", "abnormalities", "landmarks", "instruments"),
    *("where landmark", "size", "type"),
)


def pad(sequences: list[list[int]], length: int = 0) -> np.ndarray:
    """Token ids [n, longest, or `length` where that is more], filled up with the pad token."""
    width = max(length, *map(len, sequences))
    return np.array([ids + [Tokenizer.pad] * (width - len(ids)) for ids in sequences], dtype="int64")


@dataclass(frozen=True)
class Pair:
    """One question of one image: its id, and its answer as the vocabulary's canonical set, as the tokens to say it,
    and as the tokens of its members alone."""

    question_id: int
    answer: tuple[str, ...]
    tokens: list[int]
    members: list[int]


@dataclass(frozen=True)
class Batch:
    """Images by their place in the data set, and n pairs that point into them."""

    images: np.ndarray  # [i]
    image_of_pair: np.ndarray  # [n]
    pairs: list[Pair]

    def part(self, places: np.ndarray) -> Batch:
        """The images at these places, in this order, with their pairs."""
        if len(places) == len(self.images):
            return self
        return PairTable.batch(
            self.images[places],
            [[self.pairs[pair] for pair in np.flatnonzero(self.image_of_pair == place)] for place in places],
        )


class PairTable:
    """All pairs of a data set, image by image, answers that the vocabulary cannot say left out."""

    def __init__(self, dataset: Dataset, vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
        self.questions = [tokenizer.encode(question.text) for question in QUESTIONS]
        self._topics = [tokenizer.encode(topic) for topic in TOPICS]
        self.of_image: list[list[Pair]] = []
        self.unsayable = 0
        for example in dataset.examples:
            pairs = []
            for question_id, answers in example.answers.items():
                try:
                    answer = vocabulary[question_id].canonical(answers)
                except KeyError:
                    self.unsayable += 1
                    continue
                members = [token for member in answer for token in tokenizer.encode(member)]
                pairs.append(Pair(question_id, answer, tokenizer.encode_answer(answer), members))
            self.of_image.append(pairs)
        self.answered = np.array([image for image, pairs in enumerate(self.of_image) if pairs], dtype="int64")

    def statement(self, pair: Pair) -> list[int]:
        """The words of the statement that answers a pair's question: what it is about, and the answer's members."""
        return self._topics[pair.question_id] + pair.members

    def epoch(self, batch: int, questions: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Every image that has pairs once, in random order, each with at most `questions` of them."""
        order = rng.permutation(self.answered)
        for start in range(0, len(order), batch):
            images = order[start : start + batch]
            yield self.batch(images, [self._draw(image, questions, rng) for image in images])

    def all(self, batch: int) -> Iterator[Batch]:
        """Every pair once, in order."""
        for start in range(0, len(self.answered), batch):
            images = self.answered[start : start + batch]
            yield self.batch(images, [self.of_image[image] for image in images])

    def batches(self, batch: int) -> int:
        """How many batches an epoch has."""
        return -(-len(self.answered) // batch)

    @staticmethod
    def batch(images: np.ndarray, pairs: list[list[Pair]]) -> Batch:
        """The batch of these images, each with its list of pairs."""
        counts = [len(of_image) for of_image in pairs]
        return Batch(images, np.repeat(np.arange(len(images)), counts), [pair for each in pairs for pair in each])

    def _draw(self, image: int, questions: int, rng: np.random.Generator) -> list[Pair]:
        pairs = self.of_image[image]
        if len(pairs) <= questions:
            return pairs
        return [pairs[place] for place in sorted(rng.choice(len(pairs), questions, replace=False))]
