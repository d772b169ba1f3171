"""The classical expert: scikit-learn's models on descriptors of colours and edges, fitted in seconds, without Paddle.

The probability of an answer is the mean of two models'. The first is a logistic regression for each question on the
components of a Gaussian kernel (kernel PCA, Schölkopf et al. 1998). The second is one forest of extremely randomised
trees (Geurts et al. 2006) for all questions together. The classes are the complete answer sets of the training labels.
They are not weighted by rarity, because the score is the share of exact sets.

The fitted models are not stored: fitting them again gives the same answers within seconds, and no file of
scikit-learn's can be read without running code that it holds.

i images to answer, n training images, f features.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.decomposition import KernelPCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from imageclef_vqa.data import Dataset, load_pixels
from imageclef_vqa.editions import Candidate, QuestionVocabulary, Vocabulary, learn_vocabulary
from imageclef_vqa.errors import MissingStepError
from imageclef_vqa.experts.answers import (
    CLASSICAL,
    Expert,
    ExpertImages,
    RankedAnswers,
    has_answered,
    read_expert_images,
    require_unchanged,
    write_answers,
)
from imageclef_vqa.experts.descriptors import FEATURES, SIZE, VERSION, Floats, describe
from imageclef_vqa.locks import run_writer
from imageclef_vqa.progress import track
from imageclef_vqa.workspace import Workspace

# Standardised features lie at a squared distance of about 2 f from each other, where this kernel is 1 / e.
_KERNEL = {"kernel": "rbf", "gamma": 0.5 / FEATURES, "n_components": 512}
_REGRESSION = {"C": 30.0, "max_iter": 2000}
_FOREST = {"n_estimators": 200, "max_features": 0.05, "min_samples_leaf": 2, "random_state": 0}
_CANDIDATES = 5
_RARE = 3
_UNANSWERED = -1


@dataclass(frozen=True)
class ClassicalExpert:
    """Fitted models for the questions that the training labels answer.

    `regressions[q]` has the answer sets of `vocabulary[q]` as classes. The forest has one output for each of these
    questions, in their order, with one more class for images without an answer.
    """

    vocabulary: Vocabulary
    components: Pipeline  # features [i, f] → components [i, c]
    regressions: Mapping[int, ClassifierMixin]  # components [i, c] → probabilities [i, sets], by question
    forest: ExtraTreesClassifier  # features [i, f] → probabilities [i, sets] of each question

    def answer(self, features: Floats) -> dict[int, list[tuple[Candidate, ...]]]:
        """For each question, the likeliest answers to each image of `features` [i, f], best first."""
        components, voted = self.components.transform(features), self.forest.predict_proba(features)
        ranked = {}
        for output, (question, regression) in enumerate(self.regressions.items()):
            probabilities = regression.predict_proba(components)
            votes = voted[output][:, self.forest.classes_[output] != _UNANSWERED]
            total = votes.sum(axis=1, keepdims=True)
            # An image whose leaves hold no answer at all gets the regression's probabilities.
            votes = np.where(total > 0, votes / np.maximum(total, 1e-12), probabilities)
            sets = [answers for answers, _ in self.vocabulary[question].sets]
            ranked[question] = [_rank(row, sets) for row in (probabilities + votes) / 2]
        return ranked


def fit(features: Floats, answers: Sequence[Mapping[int, Sequence[str]]]) -> ClassicalExpert:
    """Fit the expert to the features [n, f] and the answers (by question id) of n training images."""
    vocabulary = learn_vocabulary((q, given) for image in answers for q, given in image.items())
    classes = {entry.question_id: _classes(entry, answers) for entry in vocabulary.questions if entry.trained}
    pipeline = make_pipeline(StandardScaler(), KernelPCA(**_KERNEL))
    components = pipeline.fit_transform(features)
    # With the constant column there are several outputs, and so lists of probabilities, even for a single question.
    outputs = np.column_stack([*classes.values(), np.zeros(len(features), int)])
    with warnings.catch_warnings():
        # Many sets occur once. scikit-learn takes them for a continuous target.
        warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
        regressions = {
            question: _fit_regression(components, own)
            for question, own in track(classes.items(), "fitting the classical expert", total=len(classes))
        }
        forest = ExtraTreesClassifier(**_FOREST, n_jobs=-1).fit(features, outputs)
    return ClassicalExpert(vocabulary, pipeline, regressions, forest)


def _fit_regression(components: Floats, classes: NDArray[np.int64]) -> ClassifierMixin:
    known = classes != _UNANSWERED
    several = len(np.unique(classes[known])) > 1
    model = LogisticRegression(**_REGRESSION) if several else DummyClassifier(strategy="prior")
    return model.fit(components[known], classes[known])


def _classes(entry: QuestionVocabulary, answers: Sequence[Mapping[int, Sequence[str]]]) -> NDArray[np.int64]:
    """The index [n] of each image's answer among the question's sets; `_UNANSWERED` if the image has none."""
    index = {members: number for number, (members, _) in enumerate(entry.sets)}
    given = [tuple(filter(None, image.get(entry.question_id, ()))) for image in answers]
    return np.array([index[entry.canonical(each)] if each else _UNANSWERED for each in given])


def _rank(probabilities: NDArray[np.float64], sets: Sequence[tuple[str, ...]]) -> tuple[Candidate, ...]:
    order = np.argsort(-probabilities, kind="stable")[:_CANDIDATES]
    return tuple(Candidate(answers=sets[index], probability=float(probabilities[index])) for index in order)


def answer_images(
    workspace: Workspace,
    *,
    fold: int | None = None,
    train: bool = True,
    notify: Callable[[str], None] = lambda message: None,
) -> bool:
    """Fit the expert to the training images and write its answers to the validation and test images.

    Answers that were made from the same data, images and settings are kept; returns whether they were. By default the
    fold is that of the run's predictions.

    Raises:
        MissingStepError: there is no split, or there are no predictions; `train` is false, and there are no answers.
        UsageError: the split has no such fold.
        MedvqaError: the data cannot be used.
    """
    with run_writer(workspace.run_folder):
        images = read_expert_images(workspace, fold)
        settings = _settings(images)
        if has_answered(workspace, CLASSICAL, images, settings, notify):
            return True
        if not train:
            where = workspace.shown(workspace.expert(CLASSICAL))
            raise MissingStepError(
                f"the classical expert has not answered the images of this split in {where}",
                workspace.typed("medvqa route --train-only"),
            )
        expert = _fit_to(images.training, workspace, notify)
        for name, dataset in images.answered.items():
            write_answers(workspace, CLASSICAL, name, _answers(expert, dataset, workspace.cache), images, settings)
    return False


def load_expert(workspace: Workspace, notify: Callable[[str], None] = lambda message: None) -> Expert:
    """The expert that answered the validation images of the run, fitted again to answer further images.

    Raises:
        ChangedError: data, split or settings have changed since it answered; or its answers are damaged.
        MedvqaError: the data cannot be used.
    """
    images = read_expert_images(workspace)
    require_unchanged(workspace, CLASSICAL, images, _settings(images))
    expert = _fit_to(images.training, workspace, notify)
    return lambda dataset, cache: _answers(expert, dataset, cache)


def _settings(images: ExpertImages) -> dict[str, Any]:
    """Everything that the answers depend on, beside the images and their labels."""
    return {
        "fold": images.fold,
        "descriptors": VERSION,
        "models": {"kernel": _KERNEL, "regression": _REGRESSION, "forest": _FOREST},
        "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
    }


def _fit_to(training: Dataset, workspace: Workspace, notify: Callable[[str], None]) -> ClassicalExpert:
    counts = [count for entry in learn_vocabulary(training.labels()).questions for _, count in entry.sets]
    rare = sum(count <= _RARE for count in counts)
    notify(
        f"fitting the classical expert to {len(training)} images; {rare} of {len(counts)} answers occur at most "
        f"{_RARE} times, and have the same weight as the others"
    )
    features = describe(load_pixels(training, SIZE, workspace.cache))
    return fit(features, [example.answers for example in training.examples])


def _answers(expert: ClassicalExpert, dataset: Dataset, cache: Path | None) -> RankedAnswers:
    """Ranked answers, image by image."""
    ranked = expert.answer(describe(load_pixels(dataset, SIZE, cache)))
    return {
        (example.image_id, question): ranked[question][row]
        for row, example in enumerate(dataset.examples)
        for question in ranked
    }
