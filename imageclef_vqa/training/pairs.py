"""From labels to token ids: the pairs of image and question, and batches of them.

i images, n pairs of image and question, t question tokens, a answer tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from imageclef_vqa.data import Dataset
from imageclef_vqa.data.augmentation import PLAIN, DrawView, View
from imageclef_vqa.data.batches import bounded_batches
from imageclef_vqa.editions import QUESTIONS, Vocabulary
from imageclef_vqa.models.language import Prompt, Tokenizer
from imageclef_vqa.planning import BatchUnit


def question_tokens(dataset: Dataset, tokenizer: Tokenizer | Prompt) -> Mapping[int, list[int]]:
    """The tokens of each question by its id; of an open question, by its row."""
    if not dataset.open:
        return {question.id: tokenizer.encode(question.text) for question in QUESTIONS}
    texts = {row: question.text for example in dataset.examples for row, question in example.questions.items()}
    return {row: tokenizer.encode(text) for row, text in texts.items()}


def pad(sequences: list[list[int]], widen: Callable[[int], int] = int) -> np.ndarray:
    """Token ids [n, width], filled up with the pad token; width is `widen(length of the longest sequence)`."""
    width = widen(max(map(len, sequences)))
    return np.array([ids + [Tokenizer.pad] * (width - len(ids)) for ids in sequences], dtype="int64")


@dataclass(frozen=True)
class Pair:
    """One question about one image, with its answer."""

    question_id: int
    answer: tuple[str, ...]  # in the vocabulary's canonical order
    tokens: list[int]  # of the answer, separators and end included
    members: list[int]  # tokens of the answer's members, without separators and end


@dataclass(frozen=True)
class Batch:
    """Images by their index in the data set, each in one view, and n pairs that refer to them."""

    images: np.ndarray  # [i]
    image_of_pair: np.ndarray  # [n]
    pairs: list[Pair]  # [n], true of the image in its view
    views: tuple[View, ...]  # [i]

    def part(self, indices: np.ndarray) -> Batch:
        """The images with these indices in the batch, in this order, with their pairs."""
        if len(indices) == len(self.images):
            return self
        return PairTable.batch(
            self.images[indices],
            [[self.pairs[pair] for pair in np.flatnonzero(self.image_of_pair == index)] for index in indices],
            [self.views[index] for index in indices],
        )


class PairTable:
    """All pairs of a data set, image by image, except those whose answer is not in the vocabulary.

    Questions stand in `prompt`, if there is one. `vocabulary` is None for open questions: every sentence can be learnt,
    and images are not augmented. With `draw_view`, every epoch shows images in the views that it draws, with the
    answers that are true there.
    """

    def __init__(
        self,
        dataset: Dataset,
        vocabulary: Vocabulary | None,
        tokenizer: Tokenizer,
        prompt: Prompt | None = None,
        *,
        draw_view: DrawView | None = None,
    ) -> None:
        self.questions = question_tokens(dataset, prompt or tokenizer)
        self._topics = [] if vocabulary is None else [tokenizer.encode(question.topic) for question in QUESTIONS]
        self._vocabulary, self._tokenizer, self._view_of = vocabulary, tokenizer, draw_view
        self.of_image: list[list[Pair]] = []
        self.unanswerable = Counter[int]()  # pairs left out, by question
        for example in dataset.examples:
            pairs = []
            for question_id, answers in example.answers.items():
                try:
                    pairs.append(self._pair(question_id, answers))
                except KeyError:
                    self.unanswerable[question_id] += 1
            self.of_image.append(pairs)
        self.answered = np.array([image for image, pairs in enumerate(self.of_image) if pairs], dtype="int64")

    def pairs_in(self, view: View, image: int) -> list[Pair]:
        """The pairs of an image in a view.

        Raises:
            KeyError: an answer that is true in this view is not in the vocabulary.
        """
        if view.turn == 0 or self._vocabulary is None:
            return self.of_image[image]
        members = self._vocabulary.questions
        return [
            self._pair(pair.question_id, view.answers(pair.question_id, pair.answer, members[pair.question_id].members))
            if QUESTIONS[pair.question_id].asks == "location"
            else pair
            for pair in self.of_image[image]
        ]

    def _pair(self, question_id: int, answers: tuple[str, ...]) -> Pair:
        answer = answers if self._vocabulary is None else self._vocabulary[question_id].canonical(answers)
        members = [] if self.open else [token for member in answer for token in self._tokenizer.encode(member)]
        return Pair(question_id, answer, self._tokenizer.encode_answer(answer), members)

    @property
    def open(self) -> bool:
        """Whether questions are open and answers are sentences."""
        return self._vocabulary is None

    def claim(self, pair: Pair) -> Hashable:
        """What a pair says: equal for pairs of other images with the same question and answer."""
        return (tuple(self.questions[pair.question_id]) if self.open else pair.question_id), pair.answer

    def statement(self, pair: Pair) -> list[int]:
        """Token ids of a statement that answers the pair's question: its topic, then the answer's members."""
        return self._topics[pair.question_id] + pair.members

    def epoch(
        self, batch: int, questions: int, rng: np.random.Generator, unit: BatchUnit = "images"
    ) -> Iterator[Batch]:
        """Batches of `batch` units in random order.

        With "images", every image once, with at most `questions` of its pairs; with "pairs", every pair once. A batch
        of pairs has an image for each of them, so the same image may be in it twice.
        """
        units = self._units(unit)
        order = rng.permutation(len(units))
        for start in range(0, len(order), batch):
            images, numbers = units[order[start : start + batch]].T
            views = [self._draw_view(image, rng) for image in images]
            drawn = [
                [pairs[number]] if unit == "pairs" else self._draw(pairs, questions, rng)
                for pairs, number in zip(map(self.pairs_in, views, images), numbers, strict=True)
            ]
            yield self.batch(images, drawn, views)

    def all(self, batch: int) -> Iterator[Batch]:
        """Every pair once, in order, at most as many at once as `batch` images of closed questions have."""
        counts = [len(pairs) for pairs in self.of_image]
        for parts in bounded_batches(range(len(counts)), counts, images=batch, most=batch * len(QUESTIONS)):
            yield self.batch(np.array([image for image, _ in parts]), [self.of_image[i][part] for i, part in parts])

    def batches(self, batch: int, unit: BatchUnit = "images") -> int:
        """The number of batches per epoch."""
        return -(-len(self._units(unit)) // batch)

    def _units(self, unit: BatchUnit) -> np.ndarray:
        """[n, 2]: an image and the number of one of its pairs; with "images", the first one of every image."""
        counts = [len(self.of_image[image]) if unit == "pairs" else 1 for image in self.answered]
        numbers = [number for count in counts for number in range(count)]
        return np.stack([np.repeat(self.answered, counts), np.array(numbers, dtype="int64")], axis=1)

    @staticmethod
    def batch(images: np.ndarray, pairs: Sequence[list[Pair]], views: Sequence[View] | None = None) -> Batch:
        """The batch of these images, each with its pairs; without `views`, the images are unchanged."""
        counts = [len(of_image) for of_image in pairs]
        shown = tuple(views) if views is not None else (PLAIN,) * len(images)
        flat = [pair for of_image in pairs for pair in of_image]
        return Batch(images, np.repeat(np.arange(len(images)), counts), flat, shown)

    def _draw_view(self, image: int, rng: np.random.Generator) -> View:
        if self._view_of is None:
            return PLAIN
        view = self._view_of([pair.question_id for pair in self.of_image[image]], rng)
        try:
            self.pairs_in(view, image)
        except KeyError:  # a location has no name there
            return replace(view, turn=0)
        return view

    @staticmethod
    def _draw(pairs: list[Pair], questions: int, rng: np.random.Generator) -> list[Pair]:
        if len(pairs) <= questions:
            return pairs
        return [pairs[index] for index in sorted(rng.choice(len(pairs), questions, replace=False))]
