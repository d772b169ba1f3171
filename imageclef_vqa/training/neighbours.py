"""What training says of pictures that look alike: its sentences, weighed by the likeness of picture and question.

A language model that learnt from a few thousand sentences is unsure of their wording, which the sentences about similar
pictures show. As in nearest-neighbour language models (Khandelwal et al. 2020), both are mixed: `inference.sentences`.

neighbours.safetensors   the training pictures' descriptions, and what makes a description of vision's features
neighbours.json          [question, [[index of a picture, sentence], …]] for each question, folded

i images, p patches, d width of the vision encoder, f = 9 d, c components.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import RootModel

from imageclef_vqa.checkpoints.layers import read_weights, save_weights
from imageclef_vqa.data import Dataset
from imageclef_vqa.editions.rankings import Ranked, rank
from imageclef_vqa.files import write_text
from imageclef_vqa.inputs import read_model
from imageclef_vqa.statistics import cell_means
from imageclef_vqa.training.config import NEIGHBOURS
from imageclef_vqa.training.context import StageContext
from imageclef_vqa.training.features import rounded_features

_COMPONENTS = 64
_SHARPNESS = 4.0  # a picture weighs exp(_SHARPNESS · cosine of the descriptions)
_LEAST, _POWER = 0.5, 16  # of the words that two questions have in common
_ALMOST_NONE = 0.01
_NOTHING = 1e-6  # of the largest variance
_LISTED = 16  # sentences
_AT_ONCE = 8  # images
_WORD = re.compile(r"\w+")


class _Index(NamedTuple):
    """Training's rows as arrays: the question, picture and sentence [r] of each; and its questions by their words."""

    words: np.ndarray  # their number in each question
    postings: Mapping[str, np.ndarray]  # word → the questions that have it
    question: np.ndarray
    image: np.ndarray
    sentence: np.ndarray
    sentences: list[str]


class _Rows(RootModel[list[tuple[str, list[tuple[int, str]]]]]):
    """`neighbours.json`."""


@dataclass(frozen=True)
class Neighbours:
    """Training's pictures and sentences.

    Attributes:
        mean, projection: of features [f] and [f, c].
        images: descriptions [i, c] of length 1.
        rows: folded question → index of the picture and sentence of each row that asks it.
    """

    mean: np.ndarray
    projection: np.ndarray
    images: np.ndarray
    rows: Mapping[str, Sequence[tuple[int, str]]]

    @classmethod
    def fit(cls, features: np.ndarray, dataset: Dataset) -> Neighbours:
        """From the means of vision's cells [i, f] of the images of `dataset`: principal components, standardised."""
        mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
        projection = _principal_axes((features - mean) / deviation) / deviation[:, None]
        rows: dict[str, list[tuple[int, str]]] = {}
        for index, example in enumerate(dataset.examples):
            for row, (sentence,) in example.answers.items():
                rows.setdefault(_folded(example.questions[row].text), []).append((index, sentence))
        return cls(mean, projection, _unit((features - mean) @ projection), rows)

    @classmethod
    def read(cls, folder: Path) -> Neighbours:
        """What `write` left in the folder of a stage."""
        tensors = read_weights(folder / NEIGHBOURS[0])
        return cls(**tensors, rows=dict(read_model(folder / NEIGHBOURS[1], _Rows).root))

    def write(self, folder: Path) -> None:
        tensors = {name: getattr(self, name).astype("float32") for name in ("mean", "projection", "images")}
        save_weights(folder / NEIGHBOURS[0], tensors)
        write_text(folder / NEIGHBOURS[1], json.dumps([*self.rows.items()], ensure_ascii=False) + "\n")

    def describe(self, features: np.ndarray) -> np.ndarray:
        """Vision's features [i, p, d] → descriptions [i, c] of length 1."""
        return _unit((cell_means(features) - self.mean) @ self.projection)

    def rank(self, description: np.ndarray, question: str) -> Ranked:
        """The likeliest sentences of training for a picture [c] and a question."""
        index = self._index
        weights = self._alike(_folded(question))[index.question] * self._pictures(description)[index.image]
        total = np.bincount(index.sentence, weights, len(index.sentences))
        least = np.partition(total, -_LISTED)[-_LISTED] if len(total) > _LISTED else 0.0
        likely = np.flatnonzero((total >= least) & (total > 0))
        listed = rank({(index.sentences[each],): float(total[each]) for each in likely})[:_LISTED]
        whole = sum(weight for _, weight in listed)
        return tuple((sentence, weight / whole) for sentence, weight in listed)

    def _pictures(self, description: np.ndarray) -> np.ndarray:
        """The weights of training's pictures [i]."""
        return np.exp(_SHARPNESS * (self.images @ description))

    def _alike(self, question: str) -> np.ndarray:
        """The weights of training's questions: a power of the share of words in common (Jaccard).

        Questions with less than half of their words in common have weight 0, unless there are no others.
        """
        index = self._index
        asked = set(_WORD.findall(question))
        common = np.zeros(len(index.words))
        for word in asked & index.postings.keys():
            common[index.postings[word]] += 1
        share = common / np.maximum(index.words + len(asked) - common, 1)
        near = share >= min(_LEAST, share.max())
        return np.where(near, np.maximum(share, _ALMOST_NONE) ** _POWER, 0.0)

    @cached_property
    def _index(self) -> _Index:
        sentences: dict[str, int] = {}
        postings: dict[str, list[int]] = {}
        words, flat = [], []
        for number, (question, rows) in enumerate(self.rows.items()):
            own = set(_WORD.findall(question))
            words.append(len(own))
            for word in own:
                postings.setdefault(word, []).append(number)
            flat += [(number, image, sentences.setdefault(text, len(sentences))) for image, text in rows]
        arrays = {word: np.array(numbers) for word, numbers in postings.items()}
        asked, image, sentence = np.array(flat).reshape(-1, 3).T
        return _Index(np.array(words), arrays, asked, image, sentence, list(sentences))


def write_neighbours(context: StageContext, folder: Path) -> None:
    """Describe the training pictures by the model's vision, and keep them with their sentences in `folder`."""
    stored = None if context.features is None else context.features.of(context.train.pixels)
    means = []
    for images in np.array_split(np.arange(len(context.train.pixels)), -(-len(context.train.pixels) // _AT_ONCE)):
        patches = stored[images] if stored is not None else _features(context, images)
        means.append(cell_means(patches))
    Neighbours.fit(np.concatenate(means), context.train.dataset).write(folder)


def _features(context: StageContext, images: np.ndarray) -> np.ndarray:
    return np.asarray(rounded_features(context.model.vision, context.train.pixels[images]).numpy())


def _principal_axes(x: np.ndarray) -> np.ndarray:
    """The first principal axes [f, c] of x [i, f]; of the smaller one of two products, which is faster than by SVD."""
    from scipy.linalg import eigh  # here: few commands need SciPy

    wide = len(x) < x.shape[1]
    product = x @ x.T if wide else x.T @ x
    last = len(product) - 1
    values, vectors = eigh(product.astype("float64"), subset_by_index=(max(0, last - _COMPONENTS + 1), last))
    vectors = vectors[:, values >= _NOTHING * values[-1]][:, ::-1]  # fewer images than axes leave axes of no meaning
    return _unit((vectors.T @ x) if wide else vectors.T).T


def _folded(question: str) -> str:
    return " ".join(question.casefold().split())


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9))
