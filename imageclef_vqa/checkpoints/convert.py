"""`medvqa weights convert`: a published checkpoint becomes a folder of ours, one tensor at a time.

Strict both ways: every tensor of the source has a rule, every tensor of ours is made by one, in the shape that the
model has; what is left out and what is not there is listed with its reason.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from imageclef_vqa.checkpoints.folder import FolderConfig, read_folder_config
from imageclef_vqa.checkpoints.formats import read_format
from imageclef_vqa.checkpoints.formats.rules import Rule, fill, match
from imageclef_vqa.checkpoints.language import SCALE
from imageclef_vqa.checkpoints.parts import shapes
from imageclef_vqa.checkpoints.safetensors import write_safetensors
from imageclef_vqa.checkpoints.source import Source
from imageclef_vqa.checkpoints.stored import DTYPES, FLOATS, Stored, all_finite
from imageclef_vqa.errors import MedvqaError, UsageError
from imageclef_vqa.files import atomic_files


@dataclass(frozen=True)
class Made:
    """A tensor of ours, made from those of the source when it is asked for."""

    olds: tuple[Stored, ...]
    rule: Rule
    shape: tuple[int, ...]

    @property
    def dtype(self) -> str:
        return self.olds[0].dtype

    def bits(self) -> np.ndarray:
        """The elements, row-major.

        Raises:
            MedvqaError: the source cannot be read, or holds what is no number.
        """
        parts = []
        for old in self.olds:
            bits = old.bits()
            if old.dtype in FLOATS and not all_finite(bits, old.dtype):
                raise MedvqaError(f"{old.file}: {old.name} holds values that are no numbers (NaN or infinite)")
            parts.append(bits)
        return np.asarray(self.rule.how(*parts), order="C")


@dataclass(frozen=True)
class Conversion:
    """What becomes of a source: tensors by part and name, and what was left out, by the source's names, and why."""

    source: Source
    format: str
    config: FolderConfig
    parts: Mapping[str, Mapping[str, Made]]
    dropped: Mapping[str, str]
    copies: tuple[tuple[Stored, Stored], ...]

    def check_copies(self) -> None:
        """Compare what was left out as a copy with its original.

        Raises:
            MedvqaError: they differ.
        """
        for copy, original in self.copies:
            if (copy.dtype, copy.shape) != (original.dtype, original.shape) or (copy.bits() != original.bits()).any():
                raise MedvqaError(f"{copy.file}: {copy.name} is not {original.name} once more, as it should be")


def plan_conversion(source: Source) -> Conversion:
    """Find a rule for every tensor of `source` and a source for every tensor of ours; nothing is read yet.

    Raises:
        MedvqaError: the format is unknown, or names or shapes do not fit; every difference is listed.
    """
    name, reading = read_format(source)
    applied = _Applied(reading.rules, _with_originals(source, reading.rules))
    complaints = applied.complaints
    parts: dict[str, dict[str, Made]] = {}
    absent = {}
    if (layers := reading.config.layers) > len(source.tensors):  # which would take long to build, and in vain
        raise MedvqaError(f"{source.place} ({name}): {layers} layers by its sizes, and {len(source.tensors)} tensors")
    for part in reading.config.parts:
        wanted = {f"{part}.{own}": shape for own, shape in shapes(part, reading.config).items()}
        parts[part] = {}
        for new, shape in wanted.items():
            if new in applied.made:
                tensor = applied.made.pop(new)
                parts[part][new.removeprefix(f"{part}.")] = tensor
                if tensor.shape != shape:
                    old = " and ".join(f"{old.name} {list(old.shape)}" for old in tensor.olds)
                    complaints.append(f"~ {old}: makes {list(tensor.shape)}, the model has {list(shape)} ({new})")
                if tensor.dtype == "I8" and (scale := applied.made.pop(new + SCALE, None)) is not None:
                    parts[part][new.removeprefix(f"{part}.") + SCALE] = scale
                else:
                    complaints += [
                        f"~ {old.name}: numbers of type {old.dtype}; the model's are floats ({new})"
                        for old in tensor.olds
                        if old.dtype not in FLOATS
                    ]
            elif reasons := [reason for old, reason in reading.absent.items() if match(old, new) is not None]:
                absent[new] = reasons[0]
            else:
                complaints.append(f"- {_name_in_source(new, reading.rules)}: missing ({new} {list(shape)})")
    complaints += [
        f"+ {tensor.olds[0].name} {list(tensor.shape)}: not in a model of the sizes that config.json gives ({new})"
        for new, tensor in applied.made.items()
    ]
    if complaints:
        raise MedvqaError("\n".join([f"{source.place} ({name}) does not fit its own sizes:", *sorted(complaints)]))
    sources = reading.config.sources or dict.fromkeys(reading.config.parts, name)
    config = replace(reading.config, sources=sources, absent=absent)
    return Conversion(source, name, config, parts, applied.dropped, tuple(applied.copies))


def convert(source: Source, target: Path) -> Conversion:
    """Write `source` to the folder `target` in our format, beside parts that are there from an earlier conversion;
    whole or not at all.

    Raises:
        MedvqaError: the source does not fit its format, is damaged, or `target` holds something else.
    """
    before = FolderConfig()
    if target.exists():
        if target.is_dir() and source.place.is_dir() and target.samefile(source.place):
            raise UsageError(f"{target} is both source and target")
        found = read_folder_config(target)
        if found is None and (target.is_file() or any(target.iterdir())):
            raise UsageError(
                f"{target} is there and no folder that medvqa made", remedy="name a new or an empty folder"
            )
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
    """The source's tensors; where an original is missing, the first of its copies stands in for it."""
    tensors = dict(source.tensors)
    for rule in rules:
        if rule.copy_of is not None and rule.copy_of not in tensors and rule.olds[0] in tensors:
            tensors[rule.copy_of] = tensors.pop(rule.olds[0])
    return tensors


class _Applied:
    """What a table makes of a source's tensors."""

    def __init__(self, rules: tuple[Rule, ...], tensors: Mapping[str, Stored]) -> None:
        self.made: dict[str, Made] = {}  # by our names
        self.dropped: dict[str, str] = {}  # the source's names → reasons
        self.copies: list[tuple[Stored, Stored]] = []  # each with its original
        self.complaints: list[str] = []
        for name, tensor in tensors.items():
            fitting = [(rule, numbers) for rule in rules if (numbers := _numbers(rule, name)) is not None]
            if not fitting:
                self.complaints.append(f"+ {name} {list(tensor.shape)}: unknown to this format")
            for rule, numbers in [each for each in fitting if each[0].new is None][:1] or fitting:
                if rule.new is None:
                    self.dropped[name] = rule.reason
                    self.copies += [(tensor, tensors[rule.copy_of])] if rule.copy_of is not None else []
                elif match(rule.olds[0], name) is not None:  # the others are gathered with the first
                    self._make(rule, numbers, tensors)

    def _make(self, rule: Rule, numbers: tuple[int, ...], tensors: Mapping[str, Stored]) -> None:
        olds, new = [fill(old, numbers) for old in rule.olds], fill(str(rule.new), numbers)
        if missing := [old for old in olds if old not in tensors]:
            self.complaints += [f"- {old}: missing beside {olds[0]}" for old in missing]
            return
        stored = tuple(tensors[old] for old in olds)
        try:
            # Arrays of the same shapes that take no memory: transposing and cutting make views of them.
            shape = rule.how(*(np.broadcast_to(np.ones((), DTYPES[old.dtype]), old.shape) for old in stored)).shape
        except (ValueError, IndexError) as error:
            self.complaints.append(f"~ {olds[0]} {list(stored[0].shape)}: {error}")
            return
        if new in self.made:
            self.complaints.append(f"+ {olds[0]}: makes {new}, as {self.made[new].olds[0].name} does")
        self.made[new] = Made(stored, rule, shape)


def _numbers(rule: Rule, name: str) -> tuple[int, ...] | None:
    return next((numbers for old in rule.olds if (numbers := match(old, name)) is not None), None)


def _name_in_source(new: str, rules: tuple[Rule, ...]) -> str:
    """What the source would call our tensor `new`."""
    for rule in rules:
        if rule.new is not None and "-1" not in rule.new and (numbers := match(rule.new, new)) is not None:
            return fill(rule.olds[0], numbers)
    return new
