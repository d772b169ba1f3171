"""`medvqa weights convert`: a published checkpoint becomes a folder in our format, one tensor at a time.

Every tensor of the source needs a rule, and every tensor of ours must be made by one, in the shape that the model has.
Tensors that are dropped or absent are listed with the reason.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from imageclef_vqa.checkpoints.folder import FolderConfig, read_folder_config
from imageclef_vqa.checkpoints.formats import read_format
from imageclef_vqa.checkpoints.formats.rules import Rule, SourceLayout, fill, match
from imageclef_vqa.checkpoints.language import SCALE
from imageclef_vqa.checkpoints.parts import shapes
from imageclef_vqa.checkpoints.safetensors import write_safetensors
from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.checkpoints.stored import DTYPES, FLOATS, Stored, all_finite
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.files import atomic_files


@dataclass(frozen=True)
class Converted:
    """A tensor of ours, made from tensors of the source when its elements are needed."""

    olds: tuple[Stored, ...]
    rule: Rule
    shape: tuple[int, ...]

    @property
    def dtype(self) -> str:
        return self.olds[0].dtype

    def bits(self) -> np.ndarray:
        """The elements, row-major.

        Raises:
            MedvqaError: the source cannot be read, or holds NaN or infinity.
        """
        parts = []
        for old in self.olds:
            bits = old.bits()
            if old.dtype in FLOATS and not all_finite(bits, old.dtype):
                raise MedvqaError(f"{old.file}: {old.name} holds NaN or infinity")
            parts.append(bits)
        return np.asarray(self.rule.how(*parts), order="C")


@dataclass(frozen=True)
class Conversion:
    """How a source is converted: tensors by part and name; dropped tensors, by the source's names, with the reason."""

    source: Source
    format: str
    config: FolderConfig
    parts: Mapping[str, Mapping[str, Converted]]
    dropped: Mapping[str, str]
    copies: tuple[tuple[Stored, Stored], ...]  # dropped tensors with their originals

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the format, the number of tensors of each part, and what is dropped or absent, with the reason."""
        tensors = {part: len(tensors) for part, tensors in self.parts.items()}
        absent = dict(self.config.absent)
        return {"format": self.format, "tensors": tensors, "dropped": dict(self.dropped), "absent": absent}

    def check_copies(self) -> None:
        """Compare every dropped copy with its original.

        Raises:
            MedvqaError: they differ.
        """
        for copy, original in self.copies:
            if (copy.dtype, copy.shape) != (original.dtype, original.shape) or (copy.bits() != original.bits()).any():
                raise MedvqaError(f"{copy.file}: {copy.name} must be a copy of {original.name}, and is not")


def plan_conversion(source: Source) -> Conversion:
    """Find a rule for every tensor of `source` and a source for every tensor of ours; no elements are read yet.

    Raises:
        MedvqaError: the format is unknown, or names or shapes do not fit; every difference is listed.
    """
    name, layout = read_format(source)
    if (layers := layout.config.layers) > len(source.tensors):  # fail early: building that many layers takes long
        raise MedvqaError(
            f"{source.path} ({name}): {layers} layers in its config, but only {len(source.tensors)} tensors"
        )
    applied = _Applied(layout.rules, _with_originals(source, layout.rules))
    complaints, absent = applied.complaints, {}
    parts: dict[str, dict[str, Converted]] = {}
    for part in layout.config.parts:
        parts[part] = {}
        for own, shape in shapes(part, layout.config).items():
            new = f"{part}.{own}"
            if (tensor := applied.made.pop(new, None)) is not None:
                scale = applied.made.pop(new + SCALE, None) if tensor.dtype == "I8" else None
                parts[part] |= {own: tensor} | ({} if scale is None else {own + SCALE: scale})
                complaints += _misfits(new, tensor, shape, scaled=scale is not None)
            elif reasons := [reason for pattern, reason in layout.absent.items() if match(pattern, new) is not None]:
                absent[new] = reasons[0]
            else:
                complaints.append(f"- {_name_in_source(new, layout)}: missing ({new} {list(shape)})")
    complaints += [
        f"+ {tensor.olds[0].name} {list(tensor.shape)}: a model with the sizes in config.json does not have it ({new})"
        for new, tensor in applied.made.items()
    ]
    if complaints:
        raise MedvqaError("\n".join([f"{source.path} ({name}) does not fit its own sizes:", *sorted(complaints)]))
    sources = layout.config.sources or dict.fromkeys(layout.config.parts, name)
    config = replace(layout.config, sources=sources, absent=absent)
    return Conversion(source, name, config, parts, applied.dropped, tuple(applied.copies))


def _misfits(new: str, tensor: Converted, shape: tuple[int, ...], *, scaled: bool) -> list[str]:
    """What is wrong with a converted tensor: its shape, or integers without a scale."""
    wrong = []
    if tensor.shape != shape:
        old = " and ".join(f"{old.name} {list(old.shape)}" for old in tensor.olds)
        wrong.append(f"~ {old}: makes {list(tensor.shape)}, the model has {list(shape)} ({new})")
    integers = [old for old in tensor.olds if old.dtype not in FLOATS and not scaled]
    return wrong + [f"~ {old.name}: elements of type {old.dtype}; the model has floats ({new})" for old in integers]


def convert(source: Source, target: Path) -> Conversion:
    """Write `source` to the folder `target` in our format, atomically; parts of an earlier conversion stay.

    Raises:
        MedvqaError: the source does not fit its format, is damaged, or `target` holds something else.
    """
    before = FolderConfig()
    if target.exists():
        if target.is_dir() and source.path.is_dir() and target.samefile(source.path):
            raise UsageError(f"{target} is both source and target")
        found = read_folder_config(target)
        if found is None and (target.is_file() or any(target.iterdir())):
            raise UsageError(f"{target} exists and was not made by medvqa", remedy="name a new or an empty folder")
        before = found or before
    conversion = plan_conversion(source)
    conversion.check_copies()
    with atomic_files(target) as folder:
        for part, tensors in conversion.parts.items():
            write_safetensors(folder / f"{part}.safetensors", tensors, shown=f"write {part}")
        for tokenizer in source.tokenizers:
            shutil.copyfile(tokenizer, folder / tokenizer.name)
        before.with_parts_of(conversion.config).write(folder)
    return conversion


def _with_originals(source: Source, rules: tuple[Rule, ...]) -> dict[str, Stored]:
    """The source's tensors; the first copy of a missing original takes its name."""
    tensors = dict(source.tensors)
    for rule in rules:
        if rule.copy_of is not None and rule.copy_of not in tensors and rule.olds[0] in tensors:
            tensors[rule.copy_of] = tensors.pop(rule.olds[0])
    return tensors


class _Applied:
    """The rules applied to a source's tensors."""

    def __init__(self, rules: tuple[Rule, ...], tensors: Mapping[str, Stored]) -> None:
        self.made: dict[str, Converted] = {}  # by our names
        self.dropped: dict[str, str] = {}  # the source's names → reasons
        self.copies: list[tuple[Stored, Stored]] = []  # each with its original
        self.complaints: list[str] = []
        for name, tensor in tensors.items():
            fitting = [(rule, numbers) for rule in rules if (numbers := _numbers(rule, name)) is not None]
            if not fitting:
                self.complaints.append(f"+ {name} {list(tensor.shape)}: this format does not have it")
            for rule, numbers in [each for each in fitting if each[0].new is None][:1] or fitting:
                if rule.new is None:
                    self.dropped[name] = rule.reason
                    self.copies += [(tensor, tensors[rule.copy_of])] if rule.copy_of is not None else []
                elif match(rule.olds[0], name) is not None:  # the first of several collects the others
                    self._make(rule, numbers, tensors)

    def _make(self, rule: Rule, numbers: tuple[int, ...], tensors: Mapping[str, Stored]) -> None:
        olds, new = [fill(old, numbers) for old in rule.olds], fill(str(rule.new), numbers)
        if missing := [old for old in olds if old not in tensors]:
            self.complaints += [f"- {old}: missing, {olds[0]} needs it" for old in missing]
            return
        stored = tuple(tensors[old] for old in olds)
        try:
            # Arrays of the same shapes that take no memory: transposing and slicing return views of them.
            shape = rule.how(*(np.broadcast_to(np.ones((), DTYPES[old.dtype]), old.shape) for old in stored)).shape
        except (ValueError, IndexError) as error:
            self.complaints.append(f"~ {olds[0]} {list(stored[0].shape)}: {error}")
            return
        if new in self.made:
            self.complaints.append(f"+ {olds[0]}: makes {new}, as {self.made[new].olds[0].name} does")
        self.made[new] = Converted(stored, rule, shape)


def _numbers(rule: Rule, name: str) -> tuple[int, ...] | None:
    return next((numbers for old in rule.olds if (numbers := match(old, name)) is not None), None)


def _name_in_source(new: str, layout: SourceLayout) -> str:
    """The source's name of our tensor `new`."""
    for rule in layout.rules:
        if rule.new is not None and "-1" not in rule.new and (numbers := match(rule.new, new)) is not None:
            return fill(rule.olds[0], numbers)
    return new
