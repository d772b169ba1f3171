"""The humbler expert: two opinions, of equal weight, fitted in seconds on the CPU.

A logistic regression per question over what an image resembles: features are reduced to principal components, these to
components of a Gaussian kernel over the training images (kernel PCA, Schölkopf et al. 1998), so that it is linear in
how like each training image a new one is, however that one is turned: an endoscope has no upright. And the votes of a
forest's nearest neighbours, which know where in a picture something stands. Classes are the whole answer sets of the
training labels. Rare sets are classes like any other, unweighted: accuracy is what is scored.

On the real sample's development set (480 images, 4 leak-free folds, mean exact sets of 15 questions, and quadratic
score of the probabilities, of which less is better): 0.868 and 0.0907 so; 0.865 and 0.0910 without the turns, 0.866 and
0.0925 without the forest as well; the forest alone 0.862 and 0.0922. Without the kernel, too: 0.862; by the nearest
neighbours' sets 0.850. Some 45 variants were tried, so the best flatters a little: finer gradients, local binary
patterns, other colour spaces, strokes of text at twice the size, other kernels, learnt patches and the features of
`tiny`'s vision are within noise of it.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from imageclef_vqa.data.augmentation import TURNS
from imageclef_vqa.editions import Candidate, QuestionVocabulary, Vocabulary, learn_vocabulary
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.experts import forest
from imageclef_vqa.experts.descriptors import BLOCKS, VERSION, Floats
from imageclef_vqa.experts.forest import Forest, Integers
from imageclef_vqa.files import atomic_write, write_text
from imageclef_vqa.progress import track

_STRENGTH = 3.0  # inverse of the L2 penalty; 1 to 10 are within 0.002 of it
_COMPONENTS = 512  # all there are on the sample; bounds the time on larger sets
_FLOOR = 0.1  # of a block's mean deviation: a feature that hardly ever varies must not count like the others
_CANDIDATES = 5
_HEADER, _WEIGHTS = "expert.json", "model.safetensors"
_COUNTED = (".feature", ".left", ".right", ".roots", ".leaves", ".classes")  # tensors of integers


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    made_from: dict[str, str | float]
    versions: dict[str, str]
    weights_sha256: str
    vocabulary: Vocabulary


@dataclass(frozen=True)
class Kernel:
    """Components [i, k] → components [i, z] of the Gaussian kernel exp(-d²/reach) to the training images, averaged
    over all ways to turn these."""

    anchors: Floats  # [turns, n, k]
    reach: Floats  # [1]
    mixing: Floats  # [n, z]
    centre: Floats  # [z]

    def __call__(self, components: Floats) -> Floats:
        return _similarities(components, self.anchors, self.reach) @ self.mixing - self.centre


@dataclass(frozen=True)
class LinearExpert:
    """The mean of two opinions on each trained question, over its answer sets.

    Features [f] → components [k] → similarities to n training images → components [z] → a softmax; and features [f] →
    votes of the training images. `heads[q]` is weight [sets, z] and bias [sets], in the order of `vocabulary[q].sets`;
    `classes[q]` says which of these sets each training image answers, or -1.
    """

    vocabulary: Vocabulary
    centre: Floats  # [f]
    basis: Floats  # [f, k]
    kernel: Kernel
    heads: Mapping[int, tuple[Floats, Floats]]
    forest: Forest
    classes: Mapping[int, Integers]  # [n] of each trained question

    def rank(self, features: Floats, questions: Iterable[int]) -> dict[int, list[tuple[Candidate, ...]]]:
        """For each question, and each image of `features` [i, f], the likeliest answers, best first.

        Raises:
            KeyError: the training labels never answer one of the questions.
        """
        components = self.kernel(np.matmul(features - self.centre, self.basis, dtype=np.float32))
        votes = self.forest(features)
        return {question: self._rank(components, votes, question) for question in questions}

    def _rank(self, components: Floats, votes: np.ndarray, question_id: int) -> list[tuple[Candidate, ...]]:
        weight, bias = self.heads[question_id]
        logits = (components @ weight.T + bias).astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = odds / odds.sum(axis=1, keepdims=True)
        classes = self.classes[question_id]
        counted = votes[:, classes >= 0] @ np.eye(len(bias))[classes[classes >= 0]]
        voting = counted.sum(axis=1, keepdims=True)
        # Where no neighbour has an answer, the softmax is all there is.
        probabilities = (probabilities + np.where(voting > 0, counted / np.maximum(voting, 1e-12), probabilities)) / 2
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :_CANDIDATES]
        sets = [answers for answers, _ in self.vocabulary[question_id].sets]
        return [
            tuple(Candidate(answers=sets[place], probability=float(row[place])) for place in order)
            for order, row in zip(best, probabilities, strict=True)
        ]


def fit_linear_expert(views: Floats, answers: Sequence[Mapping[int, Sequence[str]]]) -> LinearExpert:
    """Fit to training images: their features [turns, i, f], as they are and then turned, and, for each image,
    question id → answers."""
    vocabulary = learn_vocabulary((q, given) for image in answers for q, given in image.items())
    trained = [entry.question_id for entry in vocabulary.questions if entry.trained]
    # One thread: these problems are too small for more, and the sum's order, so the result, depends on their number.
    with threadpool_limits(limits=1):
        features = views[0]
        centre, basis = _principal_components(views)
        anchors = np.stack([np.matmul(view - centre, basis, dtype=np.float32) for view in views])
        kernel = _kernel_components(anchors)
        components = kernel(anchors[0])
        classes = {question_id: _classes(vocabulary[question_id], answers) for question_id in trained}
        heads = {}
        for question_id in track(trained, "fitting experts", total=len(trained)):
            known = classes[question_id] >= 0
            heads[question_id] = _fit_head(components[known], classes[question_id][known])
        grown = forest.grow_forest(features, forest.directions(vocabulary, classes))
    return LinearExpert(vocabulary, centre, basis, kernel, heads, grown, classes)


def _classes(entry: QuestionVocabulary, answers: Sequence[Mapping[int, Sequence[str]]]) -> Integers:
    """The place of each image's answer among the sets of its question; -1 without one."""
    number = {members: index for index, (members, _) in enumerate(entry.sets)}
    given = [tuple(filter(None, image.get(entry.question_id, ()))) for image in answers]
    return np.array([number[entry.canonical(each)] if each else -1 for each in given], np.int32)


def _principal_components(views: Floats) -> tuple[Floats, Floats]:
    """Centre [f] and basis [f, k] for which every kind of feature has the same say, as the images are not turned."""
    centre = views[0].mean(axis=0, dtype=np.float64)
    scale = []
    for block in np.split(views[0].std(axis=0, dtype=np.float64), np.cumsum(BLOCKS)[:-1]):
        scale.append(1 / ((block + _FLOOR * block.mean() + 1e-6) * np.sqrt(len(block))))
    weighting = np.concatenate(scale)
    scatter = np.zeros((len(centre), len(centre)))
    for view in views:
        scaled = (view - centre) * weighting
        scatter += scaled.T @ scaled
    strength, directions = np.linalg.eigh(scatter)
    kept = np.flatnonzero(strength > 1e-10 * max(strength[-1], 1e-6))[::-1][:_COMPONENTS]
    kept = kept if len(kept) else np.array([len(strength) - 1])
    # Laid out as in the file: the order of a product's sums depends on it.
    return centre.astype(np.float32), np.ascontiguousarray(weighting[:, None] * directions[:, kept], dtype=np.float32)


def _kernel_components(anchors: Floats) -> Kernel:
    """The kernel's principal components, as far apart, all in all, as what they are made from."""
    components = anchors[0]
    distances = _squared_distances(components, components)
    reach = np.array([max(float(np.median(distances)), 1e-6)], np.float32)
    similarities = _similarities(components, anchors, reach)
    # Nearly symmetric: features of a turned picture are not quite the turned features.
    strength, directions = np.linalg.eigh((similarities + similarities.T).astype(np.float64) / 2)
    kept = np.flatnonzero(strength > 1e-6)[::-1][:_COMPONENTS]
    made = similarities @ (directions[:, kept] / np.sqrt(strength[kept]))
    scale = np.sqrt(components.var(axis=0).sum() / max(float(made.var(axis=0).sum()), 1e-12))
    mixing = np.ascontiguousarray(scale * directions[:, kept] / np.sqrt(strength[kept]), dtype=np.float32)
    return Kernel(anchors, reach, mixing, (similarities @ mixing).mean(axis=0))


def _similarities(components: Floats, anchors: Floats, reach: Floats) -> Floats:
    """Of images [i, k] to anchors [turns, n, k], averaged over their turns: [i, n]."""
    total = np.zeros((len(components), anchors.shape[1]))
    for turned in anchors:
        total += np.exp(-_squared_distances(components, turned) / reach)
    return (total / len(anchors)).astype(np.float32)


def _squared_distances(one: Floats, other: Floats) -> np.ndarray:
    """Between rows: [i, n], in float64, for small ones are differences of large sums."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    return np.maximum((one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T, 0)


def _fit_head(components: Floats, classes: np.ndarray) -> tuple[Floats, Floats]:
    count = int(classes.max()) + 1
    if count == 1:
        return np.zeros((1, components.shape[1]), np.float32), np.zeros(1, np.float32)
    with warnings.catch_warnings():
        # Sets seen once are no sign of a mistake here, which scikit-learn suspects where they are many.
        warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
        model = LogisticRegression(C=_STRENGTH, max_iter=2000).fit(components.astype(np.float64), classes)
    weight, bias = model.coef_, model.intercept_
    if count == 2:  # scikit-learn keeps the odds of the second class alone
        weight, bias = np.vstack([0 * weight, weight]), np.concatenate([0 * bias, bias])
    return np.ascontiguousarray(weight, dtype=np.float32), np.ascontiguousarray(bias, dtype=np.float32)


def settings_for(data: Mapping[str, str]) -> dict[str, str | float]:
    """Everything that the fitted expert depends on; `data` tells the training images apart from others."""
    return {
        **data,
        "descriptors": VERSION,
        "strength": _STRENGTH,
        "components": _COMPONENTS,
        "floor": _FLOOR,
        "kernel": "mean of turns; 1",
        "forest": forest.SETTINGS,
    }


def save_expert(folder: Path, expert: LinearExpert, made_from: Mapping[str, str | float]) -> None:
    """Write the expert to `folder`; its header comes last, so that there is none without its weights."""
    tensors: dict[str, Any] = {"centre": expert.centre, "basis": expert.basis}
    tensors |= {f"kernel.{field.name}": getattr(expert.kernel, field.name) for field in fields(Kernel)}
    tensors |= {f"forest.{field.name}": getattr(expert.forest, field.name) for field in fields(Forest)}
    for question_id, (weight, bias) in expert.heads.items():
        tensors |= {f"question{question_id}.weight": weight, f"question{question_id}.bias": bias}
        tensors[f"question{question_id}.classes"] = expert.classes[question_id]
    content = save({name: np.ascontiguousarray(tensor) for name, tensor in sorted(tensors.items())})
    header = _Header(
        made_from=dict(made_from),
        versions={"scikit-learn": sklearn.__version__, "numpy": np.__version__},
        weights_sha256=hashlib.sha256(content).hexdigest(),
        vocabulary=expert.vocabulary,
    )
    with atomic_write(folder / _WEIGHTS, "wb") as file:
        file.write(content)
    write_text(folder / _HEADER, json.dumps(header.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n")


def load_expert(folder: Path, made_from: Mapping[str, str | float]) -> LinearExpert | None:
    """The expert in `folder` if there is one that was made from just this, else None.

    Raises:
        MedvqaError: it is damaged.
    """
    try:
        header = _Header.model_validate_json((folder / _HEADER).read_bytes())
        if header.made_from != dict(made_from):
            return None
        content = (folder / _WEIGHTS).read_bytes()
        if hashlib.sha256(content).hexdigest() != header.weights_sha256:
            raise ValueError(f"{_WEIGHTS} is not the one that {_HEADER} was written with")
        return _assemble(header.vocabulary, load(content))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError, SafetensorError, ValueError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise MedvqaError(
            f"the expert in {folder} is damaged: {what}", remedy="remove that folder; `medvqa route` fits it anew"
        ) from error


def _assemble(vocabulary: Vocabulary, tensors: dict[str, Any]) -> LinearExpert:
    def width(name: str) -> int:
        return tensors[name].shape[-1] if name in tensors and tensors[name].ndim else 0

    images = len(tensors["forest.leaves"]) if width("forest.leaves") else 0
    components = width("kernel.mixing")
    trained = [entry.question_id for entry in vocabulary.questions if entry.trained]
    expected: dict[str, tuple[int, ...]] = {
        "centre": (sum(BLOCKS),),
        "basis": (sum(BLOCKS), width("basis")),
        "kernel.anchors": (TURNS, images, width("basis")),
        "kernel.reach": (1,),
        "kernel.mixing": (images, components),
        "kernel.centre": (components,),
        "forest.roots": (width("forest.roots"),),
        "forest.leaves": (images, width("forest.roots")),
    }
    expected |= {f"forest.{name}": (width("forest.left"),) for name in ("feature", "threshold", "left", "right")}
    for question_id in trained:
        sets = len(vocabulary[question_id].sets)
        expected |= {f"question{question_id}.weight": (sets, components), f"question{question_id}.bias": (sets,)}
        expected[f"question{question_id}.classes"] = (images,)
    for name in sorted(expected.keys() | tensors.keys()):
        tensor, kind = tensors.get(name), np.dtype(np.int32 if name.endswith(_COUNTED) else np.float32)
        if tensor is None or name not in expected or tensor.shape != expected[name] or tensor.dtype != kind:
            found = "missing" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}"
            raise ValueError(f"{name}: {found}, not {kind} {list(expected.get(name, ()))}")
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} holds values that are no numbers")
    classes = {q: tensors[f"question{q}.classes"] for q in trained}
    for question_id, places in classes.items():
        if places.min(initial=-1) < -1 or places.max(initial=-1) >= len(vocabulary[question_id].sets):
            raise ValueError(f"question{question_id}.classes: there are no such answers")
    trees = Forest(**{field.name: tensors[f"forest.{field.name}"] for field in fields(Forest)})
    trees.check(sum(BLOCKS))
    heads = {q: (tensors[f"question{q}.weight"], tensors[f"question{q}.bias"]) for q in trained}
    kernel = Kernel(**{field.name: tensors[f"kernel.{field.name}"] for field in fields(Kernel)})
    return LinearExpert(vocabulary, tensors["centre"], tensors["basis"], kernel, heads, trees, classes)
