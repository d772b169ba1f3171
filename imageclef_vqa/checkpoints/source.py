"""Where weights come from: a file, or a folder with one file or several shards, `config.json` and a tokenizer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imageclef_vqa.checkpoints.folder import CONFIG, TOKENIZERS, read_folder_config
from imageclef_vqa.checkpoints.safetensors import open_safetensors
from imageclef_vqa.checkpoints.stored import Stored
from imageclef_vqa.checkpoints.torch_file import open_torch_file
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.inputs import read_json

# What a folder may hold; the first that exists is read. An index names the shards.
_WHOLE = ("model.safetensors", "pytorch_model.bin")
_INDEX = tuple(f"{name}.index.json" for name in _WHOLE)
_TORCH = (".pth", ".pt", ".bin", ".ckpt")
_LOOSE = (*_TORCH, ".safetensors")
_WRAPPERS = ("module.", "model.")  # prefixes that training wrappers add to every name
EXPECTED = "expected.safetensors"


@dataclass(frozen=True)
class Source:
    """Tensors by name, not read yet; `config` is the content of `config.json`."""

    path: Path  # a file or a folder
    tensors: dict[str, Stored]
    config: dict[str, Any] | None
    files: tuple[Path, ...]
    tokenizers: tuple[Path, ...] = field(default=())

    def has(self, *names: str) -> bool:
        """Whether there is a tensor of any of these names, or below one that ends in a dot."""
        return any(name in self.tensors or _below(name, self.tensors) for name in names)


def _below(prefix: str, tensors: dict[str, Stored]) -> bool:
    return prefix.endswith(".") and any(name.startswith(prefix) for name in tensors)


def open_source(path: Path) -> Source:
    """The weights at `path`, a folder or a file.

    Raises:
        MedvqaError: there are none, files are missing or damaged, or two files hold the same tensor.
    """
    if path.is_dir():
        folder, (files, indexed), beside = path, _weight_files(path), True
    elif path.exists():
        folder, files, indexed, beside = path.parent, [path], None, path.name in _WHOLE
    else:
        raise MedvqaError(
            f"{path}: there is no such file or folder",
            remedy="name a folder with config.json and model.safetensors, or a .safetensors, .bin or .pth file",
        )
    tensors: dict[str, Stored] = {}
    own = path.is_dir() and read_folder_config(folder) is not None
    for file in files:
        found = open_torch_file(file) if file.suffix in _TORCH else open_safetensors(file)[0]
        if own:
            found = {f"{file.stem}.{name}": tensor for name, tensor in found.items()}
        if twice := sorted(set(found) & set(tensors)):
            raise MedvqaError(f"{path}: {file.name} and {tensors[twice[0]].file.name} both hold {twice[0]}")
        tensors |= found
    if indexed is not None and (wrong := indexed.items() ^ {(name, t.file.name) for name, t in tensors.items()}):
        lines = [f"{name}: not in {file}, or not in the index" for name, file in sorted(wrong)]
        raise MedvqaError("\n".join([f"{path}: the index and its files differ:", *lines]))
    config = read_json(folder / CONFIG) if beside and (folder / CONFIG).exists() else None
    if config is not None and not isinstance(config, dict):
        raise MedvqaError(f"{folder / CONFIG}: it must hold a table of fields")
    tokenizers = tuple(folder / name for name in TOKENIZERS if beside and (folder / name).exists())
    return Source(path, _unwrapped(tensors), config, tuple(files), tokenizers)


def _weight_files(folder: Path) -> tuple[list[Path], dict[str, str] | None]:
    """The files; where there is an index, also the file of each tensor."""
    if (own := read_folder_config(folder)) is not None:
        return [folder / f"{part}.safetensors" for part in own.parts], None
    for index in _INDEX:
        if (folder / index).exists():
            return _shards(folder / index)
    for name in _WHOLE:
        if (folder / name).exists():
            return [folder / name], None
    loose = sorted(path for path in folder.iterdir() if path.suffix in _LOOSE and path.name != EXPECTED)
    if not loose:
        raise MedvqaError(
            f"no weights in {folder}",
            remedy=f"it must hold {', '.join((*_WHOLE, *_INDEX))}, or other .pth or .safetensors files",
        )
    return loose, None


def _shards(index: Path) -> tuple[list[Path], dict[str, str]]:
    """The files that an index names, all of which exist, and the file of each tensor."""
    content = read_json(index)
    names = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise MedvqaError(f"{index} is damaged: no weight_map from tensors to files")
    shards = sorted(set(names.values()))
    if strange := [name for name in shards if not re.fullmatch(r"[\w][\w.\-]*", name)]:
        raise MedvqaError(f"{index} names {strange[0]!r}, which is not a file in its folder")
    if missing := [name for name in shards if not (index.parent / name).is_file()]:
        held = next(tensor for tensor, file in names.items() if file == missing[0])
        raise MedvqaError(
            f"{index.parent}: {', '.join(missing)} missing, which {index.name} names (for {held} and others)"
        )
    return [index.parent / name for name in shards], names


def _unwrapped(tensors: dict[str, Stored]) -> dict[str, Stored]:
    for wrapper in _WRAPPERS:
        if tensors and all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
    return tensors
