"""Training of one ResNet34: the loss of its heads, the epochs, and the thresholds of questions with sets as answers.

i images of a batch, n training images, c classes of all questions side by side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import paddle
from paddle import Tensor, nn

from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.experts.answers import ExpertImages
from imageclef_vqa.experts.heads import Head, best_threshold
from imageclef_vqa.files import write_json
from imageclef_vqa.models.encoder import normalise
from imageclef_vqa.models.resnet34 import STATISTICS
from imageclef_vqa.progress import track
from imageclef_vqa.training.loop import set_trainable
from imageclef_vqa.training.optimiser import Optimiser
from imageclef_vqa.training.parallel import Processes
from imageclef_vqa.training.recipe import Recipe
from imageclef_vqa.training.state import TrainerState, TrainingFolder

EPOCHS, BATCH = 12, 32
THRESHOLDS = "thresholds.json"
_MAX_SHIFT = 8  # pixels
_HELD_OUT = 8  # every eighth group of near-duplicates is held out to tune thresholds
# Numbers in memory: parameters, and per pixel those kept for the backward pass and those of inference (Paddle 3.3.1).
_PARAMETERS, _KEPT_PER_PIXEL, _COMPUTED_PER_PIXEL = 21.3e6, 150, 32


def memory_needed(image_size: int, *, training: bool = True) -> float:
    """Bytes of a device that a network needs.

    The gradients are allocated while the activations are freed, so the larger of the two counts.
    """
    pixels = BATCH * image_size**2
    if not training:
        return 4 * (_PARAMETERS + _COMPUTED_PER_PIXEL * pixels)
    return 4 * (3 * _PARAMETERS + max(_PARAMETERS, _KEPT_PER_PIXEL * pixels))


def train(
    folder: Path,
    network: nn.Layer,
    heads: Mapping[int, Head],
    images: ExpertImages,
    pixels: np.ndarray,
    epochs: int,
    seed: int,
    shown: str,
) -> None:
    """Train `network` on pixels [n, s, s, 3], resuming from the state in `folder`, and write it there.

    Everything random in an epoch follows from seed and epoch, so resumed training ends with the same weights.

    Raises:
        MedvqaError: a loss is not finite, or the saved state is damaged.
    """
    recipe = Recipe(epochs=epochs, learning_rate=1e-3, warmup_steps=0, decay=True, weight_decay=0.05)
    stage = TrainingFolder(folder, shown)
    optimiser = Optimiser(set_trainable(network, {".*": True}), recipe, Processes(), {})
    state = _resume(stage, network, optimiser, epochs)
    targets = [head.targets(images.training, question) for question, head in heads.items()]
    held_out = _held_out(heads, images)
    kept = np.flatnonzero(~held_out)
    num_steps = -(-len(kept) // BATCH)
    for epoch in track(range(state.epoch, epochs), shown, epochs - state.epoch):
        rng = np.random.default_rng([seed, epoch])
        network.train()
        losses = []
        for batch in map(np.sort, np.array_split(rng.permutation(kept), num_steps)):
            logits = network(normalise(_shift(pixels[batch], rng), STATISTICS))
            loss = _loss(logits, [own[batch] for own in targets], list(heads.values()))
            losses.append(float(loss))
            if not math.isfinite(losses[-1]):
                raise MedvqaError(f"{shown}, epoch {epoch + 1}: the loss is {losses[-1]}")
            loss.backward()
            optimiser.step(recipe.rate(state.total, epochs * num_steps))
            state.total += 1
        state.epoch = epoch + 1
        stage.save_state(optimiser.state(state) | _buffers(network), state)
        stage.log.add({"step": state.total, "epoch": state.epoch, "loss": float(np.mean(losses))})
    write_json(folder / THRESHOLDS, _thresholds(network, heads, targets, pixels, held_out))
    stage.save_model(network.state_dict())
    stage.clear_state()


def _resume(stage: TrainingFolder, network: nn.Layer, optimiser: Optimiser, epochs: int) -> TrainerState:
    """Load the saved state of unfinished training into network and optimiser, if there is one."""
    if not stage.unfinished:
        stage.log.start()
        return TrainerState()
    try:
        tensors, state = stage.load_state(epochs)
    except MedvqaError as error:
        raise MedvqaError(error.what, remedy=f"remove {stage.shown}; the network is then trained again") from error
    optimiser.load(tensors, state)
    tensors_of = network.state_dict()
    for name in _buffers(network):
        tensors_of[name.removeprefix("buffer.")].set_value(tensors[name])
    stage.log.resume(state.total, state.epoch)
    return state


def _buffers(network: nn.Layer) -> dict[str, np.ndarray]:
    """The running means and variances of batch normalisation, which no optimiser keeps."""
    return {f"buffer.{name}": buffer.numpy() for name, buffer in network.named_buffers()}


def _held_out(heads: Mapping[int, Head], images: ExpertImages) -> np.ndarray:
    """Whether a training image [n] tunes thresholds and is not trained on; none does if there are too few images."""
    none = np.zeros(len(images.training), bool)
    if all(head.one_of for head in heads.values()):
        return none
    held_out = np.array([images.groups[each.image_id] % _HELD_OUT == 0 for each in images.training.examples])
    return none if held_out.all() else held_out


def _shift(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move each image by up to `_MAX_SHIFT` pixels; images are not mirrored, because some questions ask for sides."""
    side = pixels.shape[1]
    margin = (_MAX_SHIFT, _MAX_SHIFT)
    padded = np.pad(pixels, ((0, 0), margin, margin, (0, 0)), mode="edge")
    tops, lefts = rng.integers(0, 2 * _MAX_SHIFT + 1, (2, len(pixels)))
    shifts = zip(padded, tops, lefts, strict=True)
    return np.stack([image[top : top + side, left : left + side] for image, top, left in shifts])


def _loss(logits: Tensor, targets: list[np.ndarray], heads: list[Head]) -> Tensor:
    """The mean over questions of weighted cross-entropies, each averaged over the images with an answer.

    Several answers to a question with a softmax share the target equally.
    """
    losses = []
    own_logits = paddle.split(logits, [len(head.classes) for head in heads], axis=1)
    for head, own, wanted in zip(heads, own_logits, targets, strict=True):
        weights, members = np.array(head.weights, "float32"), wanted.sum(axis=1, keepdims=True)
        if head.one_of:
            shares = paddle.to_tensor(wanted / np.maximum(members, 1) * weights)
            losses_of = -(shares * nn.functional.log_softmax(own, axis=1)).sum(axis=1)
        else:
            weight = paddle.to_tensor(np.where(wanted > 0, weights, 1).astype("float32"))
            losses_of = nn.functional.binary_cross_entropy_with_logits(
                own, paddle.to_tensor(wanted), weight=weight, reduction="none"
            ).sum(axis=1)
        answered = (members[:, 0] > 0).astype("float32")
        losses.append((losses_of * paddle.to_tensor(answered)).sum() / max(float(answered.sum()), 1.0))
    return paddle.add_n(losses) / len(losses)


def _thresholds(
    network: nn.Layer, heads: Mapping[int, Head], targets: list[np.ndarray], pixels: np.ndarray, held_out: np.ndarray
) -> dict[str, float]:
    """The best thresholds by question id, tuned on the images that are held out."""
    width = sum(len(head.classes) for head in heads.values())
    logits = predict_logits(network, pixels[held_out]) if held_out.any() else np.zeros((0, width), np.float32)
    own_logits = np.split(logits, np.cumsum([len(head.classes) for head in heads.values()])[:-1], axis=1)
    found = {}
    for (question, head), own, wanted in zip(heads.items(), own_logits, targets, strict=True):
        if not head.one_of:
            answered = wanted[held_out].any(axis=1)
            found[str(question)] = best_threshold(own[answered], wanted[held_out][answered])
    return found


def predict_logits(network: nn.Layer, pixels: np.ndarray) -> np.ndarray:
    """Logits [n, c] of uint8 pixels [n, s, s, 3]."""
    network.eval()
    with paddle.no_grad():
        parts = [
            network(normalise(pixels[start : start + BATCH], STATISTICS)).numpy()
            for start in range(0, len(pixels), BATCH)
        ]
    return np.concatenate(parts)
