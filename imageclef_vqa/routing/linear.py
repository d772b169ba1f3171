"""The humbler expert: a logistic regression per question over what an image resembles, fitted in seconds on the CPU.

Features are reduced to principal components, these to components of a Gaussian kernel over the training images (kernel
PCA, Schölkopf et al. 1998), so that it is linear in how like each training image a new one is. Its classes are the
whole answer sets of the training labels. On the real sample's development set (480 images, 4 leak-free folds, mean
exact sets of 15 questions): 0.866 so, 0.862 without the kernel, 0.850 by the nearest neighbours' sets, 0.864 by
extremely randomised trees; learnt patches and the features of `tiny`'s vision add nothing. Rare sets are classes like
any other, unweighted: accuracy is what is scored.
"""

from __future__ import annotations

import hashlib
import json
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

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.files import atomic_write, write_text
from imageclef_vqa.progress import track
from imageclef_vqa.routing.descriptors import BLOCKS, VERSION, Floats
from imageclef_vqa.task import Candidate, Vocabulary, learn_vocabulary

_STRENGTH = 3.0  # inverse of the L2 penalty; 1 to 10 are within 0.002 of it
_COMPONENTS = 512  # all there are on the sample; bounds the time on larger sets
_FLOOR = 0.1  # of a block's mean deviation: a feature that hardly ever varies must not count like the others
_CANDIDATES = 5
_HEADER, _WEIGHTS = "expert.json", "model.safetensors"


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    made_from: dict[str, str | float]
    versions: dict[str, str]
    weights_sha256: str
    vocabulary: Vocabulary


@dataclass(frozen=True)
class Kernel:
    """Components [i, k] → components [i, z] of the Gaussian kernel exp(-d²/reach) to the training images' [n, k]."""

    anchors: Floats  # [n, k]
    reach: Floats  # [1]
    mixing: Floats  # [n, z]
    centre: Floats  # [z]

    def __call__(self, components: Floats) -> Floats:
        return _similarities(components, self.anchors, self.reach) @ self.mixing - self.centre


@dataclass(frozen=True)
class LinearExpert:
    """Features [f] → components [k] → similarities to n training images → components [z] → per trained question a
    softmax over its answer sets.

    `heads[q]` is weight [sets, z] and bias [sets], in the order of `vocabulary[q].sets`.
    """

    vocabulary: Vocabulary
    centre: Floats  # [f]
    basis: Floats  # [f, k]
    kernel: Kernel
    heads: Mapping[int, tuple[Floats, Floats]]

    def rank(self, features: Floats, questions: Iterable[int]) -> dict[int, list[tuple[Candidate, ...]]]:
        """For each question, and each image of `features` [i, f], the likeliest answers, best first.

        Raises:
            KeyError: the training labels never answer one of the questions.
        """
        components = self.kernel(np.matmul(features - self.centre, self.basis, dtype=np.float32))
        return {question: self._rank(components, question) for question in questions}

    def _rank(self, components: Floats, question_id: int) -> list[tuple[Candidate, ...]]:
        weight, bias = self.heads[question_id]
        logits = (components @ weight.T + bias).astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = odds / odds.sum(axis=1, keepdims=True)
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :_CANDIDATES]
        sets = [answers for answers, _ in self.vocabulary[question_id].sets]
        return [
            tuple(Candidate(answers=sets[place], probability=float(row[place])) for place in order)
            for order, row in zip(best, probabilities, strict=True)
        ]


def fit_linear_expert(features: Floats, answers: Sequence[Mapping[int, Sequence[str]]]) -> LinearExpert:
    """Fit to training images: `features` [i, f] and, for each image, question id → answers."""
    vocabulary = learn_vocabulary((q, given) for image in answers for q, given in image.items())
    trained = [entry.question_id for entry in vocabulary.questions if entry.trained]
    # One thread: these problems are too small for more, and the sum's order, so the result, depends on their number.
    with threadpool_limits(limits=1):
        centre, basis = _principal_components(features)
        components = np.matmul(features - centre, basis, dtype=np.float32)
        kernel = _kernel_components(components)
        components = kernel(components)
        heads = {}
        for question_id in track(trained, "fitting experts", total=len(trained)):
            entry = vocabulary[question_id]
            number = {members: place for place, (members, _) in enumerate(entry.sets)}
            rows = [(at, image[question_id]) for at, image in enumerate(answers) if any(image.get(question_id, ()))]
            classes = np.array([number[entry.canonical(filter(None, given))] for _, given in rows])
            heads[question_id] = _fit_head(components[[at for at, _ in rows]], classes)
    return LinearExpert(vocabulary, centre, basis, kernel, heads)


def _principal_components(features: Floats) -> tuple[Floats, Floats]:
    """Centre [f] and basis [f, k] for which every kind of feature has the same say."""
    centre = features.mean(axis=0, dtype=np.float64)
    scale = []
    for block in np.split(features.std(axis=0, dtype=np.float64), np.cumsum(BLOCKS)[:-1]):
        scale.append(1 / ((block + _FLOOR * block.mean() + 1e-6) * np.sqrt(len(block))))
    weighting = np.concatenate(scale)
    _, strength, directions = np.linalg.svd((features - centre) * weighting, full_matrices=False)
    kept = directions[: min(_COMPONENTS, max(1, int((strength > 1e-6 * max(strength[0], 1e-6)).sum())))]
    # Laid out as in the file: the order of a product's sums depends on it.
    return centre.astype(np.float32), np.ascontiguousarray(weighting[:, None] * kept.T, dtype=np.float32)


def _kernel_components(components: Floats) -> Kernel:
    """The kernel's principal components, as far apart, all in all, as what they are made from."""
    distances = _squared_distances(components, components)
    reach = np.array([max(float(np.median(distances)), 1e-6)], np.float32)
    similarities = _similarities(components, components, reach)
    strength, directions = np.linalg.eigh(similarities.astype(np.float64))
    kept = np.flatnonzero(strength > 1e-6)[::-1][:_COMPONENTS]
    made = similarities @ (directions[:, kept] / np.sqrt(strength[kept]))
    scale = np.sqrt(components.var(axis=0).sum() / max(float(made.var(axis=0).sum()), 1e-12))
    mixing = np.ascontiguousarray(scale * directions[:, kept] / np.sqrt(strength[kept]), dtype=np.float32)
    return Kernel(components, reach, mixing, (similarities @ mixing).mean(axis=0))


def _similarities(one: Floats, other: Floats, reach: Floats) -> Floats:
    similarities: Floats = np.exp(-_squared_distances(one, other) / reach).astype(np.float32)
    return similarities


def _squared_distances(one: Floats, other: Floats) -> np.ndarray:
    """Between rows: [i, n], in float64, for small ones are differences of large sums."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    return np.maximum((one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T, 0)


def _fit_head(components: Floats, classes: np.ndarray) -> tuple[Floats, Floats]:
    count = int(classes.max()) + 1
    if count == 1:
        return np.zeros((1, components.shape[1]), np.float32), np.zeros(1, np.float32)
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
        "kernel": 1,
    }


def save_expert(folder: Path, expert: LinearExpert, made_from: Mapping[str, str | float]) -> None:
    """Write the expert to `folder`; its header comes last, so that there is none without its weights."""
    tensors = {"centre": expert.centre, "basis": expert.basis}
    tensors |= {f"kernel.{field.name}": getattr(expert.kernel, field.name) for field in fields(Kernel)}
    for question_id, (weight, bias) in expert.heads.items():
        tensors |= {f"question{question_id}.weight": weight, f"question{question_id}.bias": bias}
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

    images = len(tensors["kernel.anchors"]) if width("kernel.anchors") else 0
    components = width("kernel.mixing")
    trained = [entry.question_id for entry in vocabulary.questions if entry.trained]
    expected: dict[str, tuple[int, ...]] = {
        "centre": (sum(BLOCKS),),
        "basis": (sum(BLOCKS), width("basis")),
        "kernel.anchors": (images, width("basis")),
        "kernel.reach": (1,),
        "kernel.mixing": (images, components),
        "kernel.centre": (components,),
    }
    for question_id in trained:
        sets = len(vocabulary[question_id].sets)
        expected |= {f"question{question_id}.weight": (sets, components), f"question{question_id}.bias": (sets,)}
    for name in sorted(expected.keys() | tensors.keys()):
        tensor = tensors.get(name)
        if tensor is None or name not in expected or tensor.shape != expected[name] or tensor.dtype != np.float32:
            found = "missing" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}"
            raise ValueError(f"{name}: {found}, not float32 {list(expected.get(name, ()))}")
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} holds values that are no numbers")
    heads = {q: (tensors[f"question{q}.weight"], tensors[f"question{q}.bias"]) for q in trained}
    kernel = Kernel(**{field.name: tensors[f"kernel.{field.name}"] for field in fields(Kernel)})
    return LinearExpert(vocabulary, tensors["centre"], tensors["basis"], kernel, heads)
