"""A preset with the weights that it starts from, in a folder (`folder.py`).

Language model and tokenizer are needed, unless the preset's language model starts at random and learns. Of vision,
Q-Former, projection and stage 1's heads, parts that the folder does not have start at random; `random_parts` names
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from imageclef_vqa.checkpoints.folder import CONFIG, WORDS, FolderConfig, read_folder_config
from imageclef_vqa.checkpoints.language import load_language
from imageclef_vqa.checkpoints.layers import load_weights, own_tensors
from imageclef_vqa.checkpoints.packaged import load_encoder, require_packaged_weights
from imageclef_vqa.checkpoints.safetensors import open_safetensors
from imageclef_vqa.checkpoints.stored import LazyTensor, values
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.models.blip2 import Blip2
from imageclef_vqa.models.configs import VisionConfig
from imageclef_vqa.models.language import Prompt, Tokenizer, WordPieceTokenizer
from imageclef_vqa.models.language.adapters import adapted_layer
from imageclef_vqa.models.language.languages import read_tokenizer
from imageclef_vqa.models.presets import FOLDER, Preset
from imageclef_vqa.models.pretraining_heads import PretrainingHeads
from imageclef_vqa.models.vision import resize_positions

LANGUAGE = "language.safetensors"
HEADS = "heads.safetensors"
START = ("vision.safetensors", "qformer.safetensors", "projection.safetensors")
# What a preset whose language model learns starts from: projection and heads belong to a language model.
_SEEING = ("vision.safetensors", "qformer.safetensors")
_WORDS = "words.weight"  # the Q-Former's embedding of a tokenizer's pieces
_POSITIONS = "positions"
# What training may change; everything else must be as in the weights.
_FREE = {"image_size", "drop_path", "recompute", "dropout", "attention_dropout", "dropout_rate"}
_FREE |= {"prompt", "question_end"}
# What only the Q-Former's text branch depends on.
_OF_TEXT = {"vocabulary", "positions", "shared_width", "text"}
# Details of the computation; the weights' own replace the preset's.
_NUMERICS = {"norm_epsilon", "final_norm_epsilon", "activation", "layer_norm_epsilon", "layernorm_epsilon"}
_NUMERICS |= {"statistics", "align_corners", "antialias", "dense_act_fn", "answer_positions"}


def pretrained_files(preset: Preset) -> list[Path]:
    """The files that a preset starts from."""
    packaged = [] if preset.encoder is None else [require_packaged_weights(preset.encoder)]
    if preset.learns_language:
        return packaged + _existing(preset, _SEEING)
    needed = [_language_file(preset, name) for name in (LANGUAGE, preset.language.tokenizer_file)]
    words = (WORDS,) if preset.qformer.text == "wordpiece" else ()
    return packaged + needed + _existing(preset, (CONFIG, *START, HEADS, *words))


def _existing(preset: Preset, names: Sequence[str]) -> list[Path]:
    """The files of these names that the preset's weights have."""
    return [path for name in names if (path := preset.file(name)) is not None]


def _language_file(preset: Preset, name: str) -> Path:
    """A file of the language model, which is needed: its path even where it is missing."""
    return preset.file(name) or preset.folder / name


def _folder_config(preset: Preset) -> FolderConfig:
    """What the folder's `config.json` says; nothing without one."""
    return (preset.weights and read_folder_config(preset.weights)) or FolderConfig()


def _read_tokenizer(preset: Preset) -> Tokenizer:
    return read_tokenizer(preset.language, _language_file(preset, preset.language.tokenizer_file))


def load_pretrained(preset: Preset) -> tuple[Blip2, Tokenizer | None]:
    """The preset's model with its weights, and its tokenizer; None if that is learnt with the language model.

    Raises:
        MedvqaError: a file is missing or does not fit.
    """
    if preset.learns_language:
        return _load_seeing(preset), None
    config = _folder_config(preset)
    preset = adapted(preset, config)
    model = Blip2(preset, load_language(preset.language, _language_file(preset, LANGUAGE)))
    if preset.encoder is not None:
        model.vision = load_encoder(preset.encoder)
    for path in _existing(preset, START):
        part = getattr(model, path.stem)
        start: dict[str, LazyTensor | np.ndarray] = dict(open_safetensors(path)[0])
        resized = path.stem == "vision" and config.vision and config.vision.image_size != preset.vision.image_size
        if resized and isinstance(preset.vision, VisionConfig):
            positions = values(start[_POSITIONS])  # type: ignore[arg-type]
            start[_POSITIONS] = resize_positions(positions, preset.vision)
        load_weights(part, start, str(path), absent=_absent(config, path.stem))
    tokenizer = _read_tokenizer(preset)
    model.before_image = Prompt(preset.language, tokenizer).before
    return model, tokenizer


def random_parts(preset: Preset, stage: int, *, from_stage1: bool = False) -> tuple[list[str], list[str]]:
    """What starts at random in a stage: whole branches, and parts that the preset, or published training, starts so.

    `from_stage1`: the Q-Former comes from a finished stage 1.

    Raises:
        MedvqaError: the folder's `config.json` is damaged, or the weights have sizes other than the preset's.
    """
    config = _folder_config(preset)
    learns = preset.learns_language
    if not learns:
        adapted(preset, config)
    held = {path.stem for path in _existing(preset, (*START, HEADS))}
    small = ["vision's last norm"] if preset.in_folder("vision") and _absent(config, "vision") else []
    packaged = preset.encoder is not None
    branches = [] if "vision" in held or packaged else ["vision"]
    if "qformer" not in held and not from_stage1:
        # Nothing is published for what reads the encoder of a package.
        (small if packaged else branches).append("Q-Former")
    elif stage == 1 and any(name.startswith("qformer.words") for name in config.absent):
        branches.append("the Q-Former's branch for text")
    if learns:
        small.append("the language model and its tokenizer")
    if stage == 2 and (learns or "projection" not in held):
        small.append("projection")
    if stage == 1 and (learns or "heads" not in held):
        small.append("heads of stage 1")
    elif stage == 1 and (new := sorted({name.split(".")[0] for name in _absent(config, "heads")})):
        small.append(f"of the heads of stage 1 {' and '.join(new)}")
    return branches, small


def _load_seeing(preset: Preset) -> Blip2:
    """The model with a package's encoder, or the folder's vision and its Q-Former without the words that it knew."""
    model = Blip2(preset)
    if preset.encoder is not None:
        model.vision = load_encoder(preset.encoder)
    for path in _existing(preset, _SEEING):
        start = {name: tensor for name, tensor in open_safetensors(path)[0].items() if name != _WORDS}
        load_weights(getattr(model, path.stem), start, str(path), absent=(_WORDS,))
    return model


def load_heads(preset: Preset) -> tuple[PretrainingHeads, Tokenizer | None]:
    """The heads of stage 1, from the folder or new, and the tokenizer of the text that the Q-Former reads in stage 1.

    The tokenizer is None if it is learnt with the language model.

    Raises:
        MedvqaError: they do not fit, or the folder has no tokenizer for the Q-Former.
    """
    if preset.learns_language:
        return PretrainingHeads(preset.qformer), None
    sizes, path = adapted(preset, config := _folder_config(preset)).qformer, preset.file(HEADS)
    tokenizer, begin = _read_tokenizer(preset), None
    if sizes.text == "wordpiece":
        tokenizer = WordPieceTokenizer(preset.folder / WORDS, sizes.vocabulary)
        begin = tokenizer.reading, tokenizer.writing
    heads = PretrainingHeads(sizes, begin)
    if path is not None:
        load_weights(heads, open_safetensors(path)[0], str(path), absent=_absent(config, "heads"))
    return heads, tokenizer


def adapted(preset: Preset, config: FolderConfig) -> Preset:
    """The preset with the epsilons and activations of the folder's `config.json`.

    Raises:
        MedvqaError: the weights have sizes other than the preset's.
    """
    texts = not any(name.startswith("qformer.words") for name in config.absent)
    complaints, changes = [], {}
    for part in ("vision", "qformer", "language"):
        ours, theirs = getattr(preset, part), getattr(config, part)
        if theirs is None or not preset.in_folder(part):
            continue
        if type(theirs) is not type(ours):
            complaints.append(f"{part}: {type(theirs).__name__} in the folder, {type(ours).__name__} in the preset")
            continue
        free = _FREE if part != "qformer" or texts else _FREE | _OF_TEXT
        own: dict[str, Any] = asdict(ours)
        if own.get("dense_act_fn"):
            free = free | {"dense_act_fn"}  # BLIP-2 runs Flan-T5 with another activation than Flan-T5's own config
        differing = {name: value for name, value in asdict(theirs).items() if value != own[name] and name not in free}
        complaints += [
            f"{part}: {name} is {value} in the folder, {own[name]} in the preset"
            for name, value in differing.items()
            if name not in _NUMERICS and not (name == "scale_decoder_outputs" and theirs.scales == ours.scales)
        ]
        changes[part] = replace(ours, **{name: value for name, value in differing.items() if name in _NUMERICS})
    if complaints:
        raise MedvqaError(
            "\n".join([f"the weights in {preset.folder} do not fit {preset.name}:", *complaints]),
            remedy=f"--preset {FOLDER} takes the folder's own sizes",
        )
    return replace(preset, **changes)


def _absent(config: FolderConfig, part: str) -> list[str]:
    return [name.removeprefix(f"{part}.") for name in config.absent if name.startswith(f"{part}.")]


def trained_tensors(model: Blip2, *, vision: bool) -> dict[str, np.ndarray]:
    """What stage 2 trains, by name: vision's norm, Q-Former, projection, and a language model that learns or adapters.

    With `vision`, the rest of vision too.
    """
    parts = tuple(f"{part}." for part in _trained_parts(model, vision=vision))
    own = own_tensors(model).items()
    return {name: tensor for name, tensor in own if name.startswith(parts) or adapted_layer(name)}


def load_trained(
    model: Blip2, tensors: Mapping[str, np.ndarray], source: str, parts: Sequence[str] | None = None
) -> None:
    """Load `tensors`, as `trained_tensors` returns them, or those of these `parts`, into the model.

    Raises:
        MedvqaError: they are not exactly those; the differences are listed.
    """
    vision = any(name.startswith("vision.") and not name.startswith("vision.norm.") for name in tensors)
    prefixes = tuple(f"{part}." for part in parts or _trained_parts(model, vision=vision))
    own = model.state_dict().keys()
    given = [name for name in own if name.startswith(prefixes) or (parts is None and adapted_layer(name))]
    load_weights(model, tensors, source, absent=own - given)


def _trained_parts(model: Blip2, *, vision: bool) -> tuple[str, ...]:
    language = ("language",) if model.preset.learns_language else ()
    return ("vision" if vision else "vision.norm", "qformer", "projection", *language)
