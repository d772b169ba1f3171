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
_LISTED = 16  # sentences
_AT_ONCE = 8  # images
_WORD = re.compile(r"\w+")


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
        *_, axes = np.linalg.svd((features - mean) / deviation, full_matrices=False)
        projection = axes[:_COMPONENTS].T / deviation[:, None]
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
        pictures = np.exp(_SHARPNESS * (self.images @ description)).tolist()
        total: dict[tuple[str, ...], float] = {}
        for alike, weight in self._alike(_folded(question)):
            for index, sentence in self.rows[alike]:
                total[sentence,] = total.get((sentence,), 0.0) + weight * pictures[index]
        listed = rank(total)[:_LISTED]
        whole = sum(weight for _, weight in listed)
        return tuple((sentence, weight / whole) for sentence, weight in listed)

    def _alike(self, question: str) -> list[tuple[str, float]]:
        """Training questions and their weights: a power of the share of words in common (Jaccard).

        Questions with less than half of their words in common are left out, unless there are no others.
        """
        questions, sizes, postings = self._index
        asked = set(_WORD.findall(question))
        common = np.zeros(len(questions))
        for word in asked & postings.keys():
            common[postings[word]] += 1
        share = common / np.maximum(sizes + len(asked) - common, 1)
        near = np.flatnonzero(share >= min(_LEAST, share.max()))
        return [(questions[each], max(float(share[each]), _ALMOST_NONE) ** _POWER) for each in near]

    @cached_property
    def _index(self) -> tuple[list[str], np.ndarray, dict[str, np.ndarray]]:
        """The questions, their numbers of words, and word → the indices of the questions that have it."""
        questions, sizes = list(self.rows), []
        postings: dict[str, list[int]] = {}
        for number, question in enumerate(questions):
            own = set(_WORD.findall(question))
            sizes.append(len(own))
            for word in own:
                postings.setdefault(word, []).append(number)
        return questions, np.array(sizes), {word: np.array(numbers) for word, numbers in postings.items()}


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


def _folded(question: str) -> str:
    return " ".join(question.casefold().split())


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9))
