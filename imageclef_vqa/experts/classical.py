"""The classical expert: scikit-learn's models on descriptors of images, fitted in seconds, without Paddle.

A logistic regression for each question works on principal components (kernel PCA, Schölkopf et al. 1998). Where there
is a forest, one of extremely randomised trees (Geurts et al. 2006) for all questions together, the probability of an
answer is the mean of both. The classes are the complete answer sets of the training labels. They are not weighted by
rarity, because the score is the share of exact sets.

The fitted models are not stored: fitting them again gives the same answers within seconds, and no file of
scikit-learn's can be read without running code that it holds.

i images to answer, n training images, f features.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
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
from threadpoolctl import threadpool_limits

from imageclef_vqa.data import Dataset, load_pixels
from imageclef_vqa.data.augmentation import PLAIN, View
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
from imageclef_vqa.experts.views import answers_in, mean_over_views
from imageclef_vqa.locks import run_writer
from imageclef_vqa.progress import track
from imageclef_vqa.workspace import Workspace

_CANDIDATES = 5
_RARE = 3
_UNANSWERED = -1


@dataclass(frozen=True)
class Models:
    """Settings of scikit-learn's models; without a forest, the regressions answer by themselves."""

    kernel: Mapping[str, Any]
    regression: Mapping[str, Any]
    forest: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Descriptor:
    """What the expert with the name `expert` sees of an image, and what is fitted to it.

    `describe` gives features [i, f] of a data set's images in a view, with the folder of a cache; `version` changes
    whenever the features or the views do. The expert learns from all `views`, and answers by the mean over them.
    """

    expert: str
    version: str
    describe: Callable[[Dataset, Path | None, View], Floats]
    models: Models
    views: Sequence[View] = (PLAIN,)


COLOURS_AND_EDGES = Descriptor(
    CLASSICAL,
    VERSION,
    lambda dataset, cache, _view: describe(load_pixels(dataset, SIZE, cache)),
    Models(
        # Standardised features lie at a squared distance of about 2 f from each other, where this kernel is 1 / e.
        kernel={"kernel": "rbf", "gamma": 0.5 / FEATURES, "n_components": 512},
        regression={"C": 30.0, "max_iter": 2000},
        forest={"n_estimators": 200, "max_features": 0.05, "min_samples_leaf": 2, "random_state": 0},
    ),
)


@dataclass(frozen=True)
class ClassicalExpert:
    """Fitted models for the questions that the training labels answer.

    `regressions[q]` has the answer sets of `vocabulary[q]` as classes. The forest has one output for each of these
    questions, in their order, with one more class for images without an answer.
    """

    vocabulary: Vocabulary
    components: Pipeline  # features [i, f] → components [i, c]
    regressions: Mapping[int, ClassifierMixin]  # components [i, c] → probabilities [i, sets], by question
    forest: ExtraTreesClassifier | None  # features [i, f] → probabilities [i, sets] of each question

    def answer(self, features: Floats) -> dict[int, list[tuple[Candidate, ...]]]:
        """For each question, the likeliest answers to each image of `features` [i, f], best first."""
        components = self.components.transform(features)
        found = {question: model.predict_proba(components) for question, model in self.regressions.items()}
        if self.forest is not None:
            for (question, own), classes, votes in zip(
                found.items(), self.forest.classes_, self.forest.predict_proba(features), strict=False
            ):
                given = votes[:, classes != _UNANSWERED]
                total = given.sum(axis=1, keepdims=True)
                # An image whose leaves hold no answer at all gets the regression's probabilities.
                found[question] = (own + np.where(total > 0, given / np.maximum(total, 1e-12), own)) / 2
        return {
            question: [_rank(row, [answers for answers, _ in self.vocabulary[question].sets]) for row in probabilities]
            for question, probabilities in found.items()
        }


def fit(
    features: Floats, answers: Sequence[Mapping[int, Sequence[str]]], models: Models = COLOURS_AND_EDGES.models
) -> ClassicalExpert:
    """Fit the expert to the features [n, f] and the answers (by question id) of n training images."""
    vocabulary = learn_vocabulary((q, given) for image in answers for q, given in image.items())
    classes = {entry.question_id: _classes(entry, answers) for entry in vocabulary.questions if entry.trained}
    pipeline = make_pipeline(StandardScaler(), KernelPCA(**models.kernel))
    components = pipeline.fit_transform(features)
    # With the constant column there are several outputs, and so lists of probabilities, even for a single question.
    outputs = np.column_stack([*classes.values(), np.zeros(len(features), int)])
    with warnings.catch_warnings():
        # Many sets occur once. scikit-learn takes them for a continuous target.
        warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
        with threadpool_limits(1):  # two threads took 23 times the CPU time of one for such small products
            regressions = {
                question: _fit_regression(components, own, models)
                for question, own in track(classes.items(), "fitting the expert", total=len(classes))
            }
        forest = models.forest and ExtraTreesClassifier(**models.forest, n_jobs=-1).fit(features, outputs)
    return ClassicalExpert(vocabulary, pipeline, regressions, forest)


def _fit_regression(components: Floats, classes: NDArray[np.int64], models: Models) -> ClassifierMixin:
    known = classes != _UNANSWERED
    several = len(np.unique(classes[known])) > 1
    model = LogisticRegression(**models.regression) if several else DummyClassifier(strategy="prior")
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
    descriptor: Descriptor = COLOURS_AND_EDGES,
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
        settings, name = _settings(images, descriptor), descriptor.expert
        if has_answered(workspace, name, images, settings, notify):
            return True
        if not train:
            where = workspace.shown(workspace.expert(name))
            raise MissingStepError(
                f"the {name} expert has not answered the images of this split in {where}",
                workspace.typed("medvqa route --train-only"),
            )
        answer = _fit_to(images.training, descriptor, workspace, notify)
        for fold_name, dataset in images.answered.items():
            write_answers(workspace, name, fold_name, answer(dataset, workspace.cache), images, settings)
    return False


def load_expert(
    workspace: Workspace,
    descriptor: Descriptor = COLOURS_AND_EDGES,
    notify: Callable[[str], None] = lambda message: None,
) -> Expert:
    """The expert that answered the validation images of the run, fitted again to answer further images.

    Raises:
        ChangedError: data, split or settings have changed since it answered; or its answers are damaged.
        MedvqaError: the data cannot be used.
    """
    images = read_expert_images(workspace)
    require_unchanged(workspace, descriptor.expert, images, _settings(images, descriptor))
    return _fit_to(images.training, descriptor, workspace, notify)


def _settings(images: ExpertImages, descriptor: Descriptor) -> dict[str, Any]:
    """Everything that the answers depend on, beside the images and their labels."""
    return {
        "fold": images.fold,
        "descriptors": descriptor.version,
        "models": {name: models for name, models in asdict(descriptor.models).items() if models is not None},
        "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
    }


def _fit_to(training: Dataset, descriptor: Descriptor, workspace: Workspace, notify: Callable[[str], None]) -> Expert:
    counts = [count for entry in learn_vocabulary(training.labels()).questions for _, count in entry.sets]
    rare = sum(count <= _RARE for count in counts)
    notify(
        f"fitting the {descriptor.expert} expert to {len(training)} images; {rare} of {len(counts)} answers occur at "
        f"most {_RARE} times, and have the same weight as the others"
    )
    features = np.concatenate([descriptor.describe(training, workspace.cache, view) for view in descriptor.views])
    answers = [answers_in(view, example.answers) for view in descriptor.views for example in training.examples]
    expert = fit(features, answers, descriptor.models)

    def answer(dataset: Dataset, cache: Path | None) -> RankedAnswers:
        """Ranked answers, image by image."""
        of_views = [expert.answer(descriptor.describe(dataset, cache, view)) for view in descriptor.views]
        ranked = mean_over_views(expert.vocabulary, descriptor.views, of_views, _CANDIDATES)
        return {
            (example.image_id, question): ranked[question][row]
            for row, example in enumerate(dataset.examples)
            for question in ranked
        }

    return answer
