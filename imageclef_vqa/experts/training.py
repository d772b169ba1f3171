"""ResNet34 experts: a network per question as in the paper, or one for all.

experts/resnet34/<question16 | shared>/
    config.json         questions, classes, and what it was trained from
    log.jsonl           a line per epoch
    state.safetensors   network and optimiser after the last whole epoch, while unfinished
    model.safetensors   the trained network
    thresholds.json     for set questions, the probability from which a member is said

One-of questions have a softmax over the answers seen, set questions independent members. Rare classes weigh more in
training, by the root of how rare they are, and the softmax takes that back when it answers: probabilities are those of
the data. Thresholds are tuned on an eighth of the training images that the network does not learn from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import paddle
from paddle import Tensor, nn
from pydantic import BaseModel, ConfigDict, ValidationError

from imageclef_vqa.checkpoints.layers import load_weights, read_metadata, read_weights, save_weights
from imageclef_vqa.checkpoints.source import open_source
from imageclef_vqa.data import Dataset, load_pixels, read_dataset, read_split
from imageclef_vqa.editions import learn_vocabulary, read_predictions
from imageclef_vqa.errors import MedvqaError, MissingStepError
from imageclef_vqa.experts.resnet34_start import start_from
from imageclef_vqa.files import sha256, sole_writer, write_json, write_text
from imageclef_vqa.models.resnet34 import build_expert
from imageclef_vqa.models.vision import normalise
from imageclef_vqa.planning import expert_shortage_explained
from imageclef_vqa.progress import track
from imageclef_vqa.training.config import fingerprint
from imageclef_vqa.workspace import Workspace

NAME = "resnet34"
_RARELY = 0.1  # a question that takes several answers less often than this has one softmax
_HELD_OUT = 8  # one training image in so many tunes thresholds
_SIZE, _SIZE_PRETRAINED = 128, 224
_PARAMETERS, _KEPT, _COMPUTED = 21.3e6, 150, 32  # numbers; the latter two per pixel, as measured (Paddle 3.3.1)
_EPOCHS, _BATCH, _RATE, _DECAY, _SHIFT = 12, 32, 1e-3, 0.05, 8


class Head(BaseModel):
    """The classes of one question: members in canonical order, and all sets seen in training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...]
    sets: tuple[tuple[str, ...], ...]
    one_of: bool
    weights: tuple[float, ...]  # of the classes in the loss


class ExpertConfig(BaseModel):
    """What an expert was trained from; a run goes on, and is used, only with all of it unchanged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    heads: dict[int, Head]
    image_size: int
    epochs: int
    seed: int
    data: str
    training_images: str
    weights: str | None

    def columns(self) -> dict[int, slice]:
        """Where each question's classes stand among the network's outputs."""
        ends = np.cumsum([len(head.classes) for head in self.heads.values()])
        return {
            question: slice(int(end) - len(head.classes), int(end))
            for (question, head), end in zip(self.heads.items(), ends, strict=True)
        }


def train_experts(
    workspace: Workspace,
    questions: Sequence[int],
    *,
    weights: Path | None = None,
    shared: bool = False,
    epochs: int | None = None,
    seed: int = 0,
    notify: Callable[[str], None] = lambda message: None,
) -> list[Path]:
    """Train a network per question, or one for all, on the run's training fold; returns their folders.

    A finished one made from just this is kept, an unfinished one goes on. Questions without training answers have none.

    Raises:
        MedvqaError: data or weights cannot be used, or a loss is not finite.
    """
    if not workspace.predictions("val").exists():
        raise MissingStepError(f"no predictions for val in {workspace.shown(workspace.run_folder)}", "medvqa predict")
    with sole_writer(workspace.run_folder):
        dataset = read_dataset(workspace.development, cache=workspace.cache)
        split = read_split(workspace.split_file, dataset)
        fold = split.fold_of({each.image_id for each in read_predictions(workspace.predictions("val"))})
        training = dataset.subset(split.train(fold))
        vocabulary = learn_vocabulary(training.labels())
        able = [question for question in questions if vocabulary[question].trained]
        folders = []
        for group in [able] if shared and able else [[question] for question in able]:
            config = ExpertConfig(
                heads={question: _head(vocabulary[question].sets) for question in group},
                image_size=_SIZE if weights is None else _SIZE_PRETRAINED,
                epochs=epochs or _EPOCHS,
                seed=seed,
                data=dataset.fingerprint,
                training_images=fingerprint(*split.train(fold)),
                weights=None if weights is None else fingerprint(*map(sha256, open_source(weights).files)),
            )
            folder = workspace.expert(NAME) / ("shared" if shared else f"question{group[0]}")
            kept = f"the last epoch that was saved in {workspace.shown(folder)} is whole"
            with paddle.utils.unique_name.guard(), expert_shortage_explained(needed(config.image_size), kept):
                _train(folder, config, training, split.groups, weights, workspace, notify)
            folders.append(folder)
    return folders


def needed(image_size: int, *, learns: bool = True) -> float:
    """Bytes of a device that a network takes: weights and what it computes; to learn, moments and gradients as well,
    which come to be while what was kept for them is freed."""
    pixels = _BATCH * image_size**2
    if not learns:
        return 4 * (_PARAMETERS + _COMPUTED * pixels)
    return 4 * (3 * _PARAMETERS + max(_PARAMETERS, _KEPT * pixels))


def read_config(folder: Path) -> ExpertConfig:
    """The configuration of an expert.

    Raises:
        MedvqaError: it is damaged.
    """
    try:
        return ExpertConfig.model_validate_json((folder / "config.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise MedvqaError(f"{folder / 'config.json'} is damaged: {error}", remedy="remove that folder") from error


def _head(sets: Sequence[tuple[tuple[str, ...], int]]) -> Head:
    counts: dict[str, int] = {}
    for members, count in sets:
        for member in members:
            counts[member] = counts.get(member, 0) + count
    total = sum(count for _, count in sets)
    several = sum(count for members, count in sets if len(members) > 1)
    weights = np.array([math.sqrt(max(counts.values()) / count) for count in counts.values()])
    return Head(
        classes=tuple(counts),
        sets=tuple(members for members, _ in sets),
        one_of=several < _RARELY * total,
        weights=tuple(float(weight) for weight in weights),
    )


def _train(
    folder: Path,
    config: ExpertConfig,
    training: Dataset,
    groups: Mapping[str, int],
    weights: Path | None,
    workspace: Workspace,
    notify: Callable[[str], None],
) -> None:
    same = (folder / "config.json").exists() and read_config(folder) == config
    if same and (folder / "thresholds.json").exists():
        return
    if not same:
        for name in ("state.safetensors", "model.safetensors", "thresholds.json", "log.jsonl"):
            (folder / name).unlink(missing_ok=True)
        write_text(folder / "config.json", config.model_dump_json(indent=1) + "\n")
    paddle.seed(config.seed)
    network = build_expert(sum(len(head.classes) for head in config.heads.values()))
    if weights is not None:
        start_from(network, weights)
    optimizer = paddle.optimizer.AdamW(_RATE, parameters=network.parameters(), weight_decay=_DECAY)
    done = _load_state(folder, network, optimizer)
    pixels = load_pixels(training, config.image_size, workspace.cache)
    targets, known = _targets(training, config)
    tuning = np.array([groups[each.image_id] % _HELD_OUT == 0 for each in training.examples])
    if all(head.one_of for head in config.heads.values()) or tuning.all() or not tuning.any():
        tuning[:] = False
    learning = np.flatnonzero(~tuning)
    steps = -(-len(learning) // _BATCH)
    for epoch in track(range(done, config.epochs), workspace.shown(folder), config.epochs - done):
        rng = np.random.default_rng([config.seed, epoch])
        network.train()
        losses = []
        for number, images in enumerate(np.array_split(rng.permutation(learning), steps)):
            optimizer.set_lr(_RATE * 0.5 * (1 + math.cos(math.pi * (epoch + number / steps) / config.epochs)))
            logits = network(normalise(_shifted(pixels[np.sort(images)], rng)))
            loss = _loss(logits, targets[np.sort(images)], known[np.sort(images)], config)
            if not math.isfinite(value := float(loss)):
                raise MedvqaError(f"{workspace.shown(folder)}, epoch {epoch + 1}: the loss is {value}")
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            losses.append(value)
        tensors = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
        moments = {name: value for name, value in optimizer.state_dict().items() if isinstance(value, Tensor)}
        tensors |= {f"optimizer.{name}": value for name, value in moments.items()}
        save_weights(folder / "state.safetensors", tensors, {"epoch": str(epoch + 1)})
        with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": epoch + 1, "loss": round(float(np.mean(losses)), 5)}) + "\n")
    save_weights(folder / "model.safetensors", network.state_dict())
    outputs = forward(network, pixels[tuning]) if tuning.any() else np.zeros((0, targets.shape[1]), np.float32)
    write_json(folder / "thresholds.json", _thresholds(outputs, targets[tuning], known[tuning], config))
    (folder / "state.safetensors").unlink(missing_ok=True)
    heaviest = max(max(head.weights) for head in config.heads.values())
    notify(
        f"{workspace.shown(folder)}: {config.epochs} epochs, rare answers weighing up to {heaviest:.1f} times as much"
    )


def forward(network: nn.Layer, pixels: np.ndarray) -> np.ndarray:
    """Logits [i, c] of uint8 pixels [i, h, w, 3]."""
    network.eval()
    with paddle.no_grad():
        parts = [network(normalise(pixels[at : at + _BATCH])).numpy() for at in range(0, len(pixels), _BATCH)]
    return np.concatenate(parts)


def _load_state(folder: Path, network: nn.Layer, optimizer: paddle.optimizer.Optimizer) -> int:
    path = folder / "state.safetensors"
    if not path.exists():
        return 0
    tensors = read_weights(path)
    load_weights(network, {n[6:]: tensor for n, tensor in tensors.items() if n.startswith("model.")}, str(path))
    moments = {n[10:]: paddle.to_tensor(tensor) for n, tensor in tensors.items() if n.startswith("optimizer.")}
    optimizer.set_state_dict(moments)
    return int(read_metadata(path)["epoch"])


def _targets(dataset: Dataset, config: ExpertConfig) -> tuple[np.ndarray, np.ndarray]:
    """Members said [i, c], and whether the question has an answer [i, c]."""
    width = sum(len(head.classes) for head in config.heads.values())
    targets, known = np.zeros((len(dataset), width), "float32"), np.zeros((len(dataset), width), bool)
    for row, example in enumerate(dataset.examples):
        for question, columns in config.columns().items():
            place = {name.casefold(): at for at, name in enumerate(config.heads[question].classes, columns.start)}
            if said := [place[a.strip().casefold()] for a in example.answers.get(question, ()) if a.strip()]:
                targets[row, said], known[row, columns] = 1, True
    return targets, known


def _shifted(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image moved by up to `_SHIFT` pixels. Not mirrored: many questions ask for left and right."""
    side = pixels.shape[1]
    wide = np.pad(pixels, ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)), mode="edge")
    tops, lefts = rng.integers(0, 2 * _SHIFT + 1, (2, len(pixels)))
    return np.stack(
        [image[top : top + side, left : left + side] for image, top, left in zip(wide, tops, lefts, strict=True)]
    )


def _loss(logits: Tensor, targets: np.ndarray, known: np.ndarray, config: ExpertConfig) -> Tensor:
    """The mean over questions of weighted cross-entropies; several answers to a one-of question share the target."""
    parts = []
    for question, columns in config.columns().items():
        head, own, asked = config.heads[question], logits[:, columns], known[:, columns.start].astype("float32")
        wanted = targets[:, columns]
        weights = np.array(head.weights, "float32")
        if head.one_of:
            share = wanted / np.maximum(wanted.sum(axis=1, keepdims=True), 1) * weights
            each = -(paddle.to_tensor(share) * nn.functional.log_softmax(own, axis=1)).sum(axis=1)
        else:
            weight = paddle.to_tensor(np.where(wanted > 0, weights, 1).astype("float32"))
            each = nn.functional.binary_cross_entropy_with_logits(
                own, paddle.to_tensor(wanted), weight=weight, reduction="none"
            ).sum(axis=1)
        parts.append((each * paddle.to_tensor(asked)).sum() / max(float(asked.sum()), 1.0))
    return paddle.add_n(parts) / len(parts)


def _thresholds(outputs: np.ndarray, targets: np.ndarray, known: np.ndarray, config: ExpertConfig) -> dict[str, float]:
    """For each set question, the probability that gives most exact sets; 0.5 where there is nothing to tune on."""
    found = {}
    for question, columns in config.columns().items():
        rows = known[:, columns.start] if len(known) else np.zeros(0, bool)
        if config.heads[question].one_of:
            continue
        chances = 1 / (1 + np.exp(-outputs[rows][:, columns].astype(np.float64)))
        wanted = targets[rows][:, columns] > 0
        grid = np.linspace(0.2, 0.8, 25)
        exact = [((chances > t) == wanted).all(axis=1).mean() if len(wanted) else 0.0 for t in grid]
        best = [t for t, value in zip(grid, exact, strict=True) if value == max(exact)]
        found[str(question)] = float(np.median(best))
    return found
