"""Read pickles that describe tensors, without running anything that they name.

A pickle is a program. This reader keeps a stack of plain values and accepts only the globals in `KNOWN`, which describe
tensors; it imports and calls nothing. Everything else is refused by name. (Python's `pickletools` only splits the
opcodes.)
"""

from __future__ import annotations

import mmap
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

_LARGEST_INTEGER = 2**63
_MOST_OPCODES = 20_000_000


class RefusedError(ValueError):
    """The pickle asks for something that no tensor needs."""


class DamagedError(ValueError):
    """The bytes are truncated or not a pickle."""


@dataclass(frozen=True)
class Global:
    """A name in the pickle; it is never imported."""

    name: str


@dataclass(frozen=True)
class Storage:
    """A persistent id: a run of `count` elements of `dtype` under `key`."""

    dtype: str
    key: str
    count: int


@dataclass(frozen=True)
class Claim:
    """A tensor as the pickle describes it, not checked yet; strides and offset are in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


# PyTorch's storage classes → the type of their elements, under safetensors' names.
STORAGES = {
    f"torch {name}Storage": dtype
    for name, dtype in (
        ("Float", "F32"),
        ("Double", "F64"),
        ("Half", "F16"),
        ("BFloat16", "BF16"),
        ("Long", "I64"),
        ("Int", "I32"),
        ("Short", "I16"),
        ("Char", "I8"),
        ("Byte", "U8"),
        ("Bool", "BOOL"),
    )
}


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_rest: Any) -> Claim:
    if not isinstance(storage, Storage):
        raise RefusedError("a tensor without a storage")
    numbers = (offset, *shape, *strides)
    if not all(type(number) is int and 0 <= number < _LARGEST_INTEGER for number in numbers):
        raise RefusedError("a tensor whose sizes are no whole numbers")
    if len(shape) != len(strides):
        raise RefusedError("a tensor with more sizes than strides, or fewer")
    return Claim(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any, *_rest: Any) -> Any:
    return tensor


def _table(*pairs: Any) -> dict[Any, Any]:
    return dict(pairs[0]) if pairs else {}


def _size(sizes: Any) -> tuple[Any, ...]:
    return tuple(sizes)


KNOWN: Mapping[str, Callable[..., Any] | None] = {
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
    "collections OrderedDict": _table,
    "torch Size": _size,
    "argparse Namespace": _table,  # options of a training, beside its tensors; they are left out
    **dict.fromkeys(STORAGES),
}


def read_pickle(stream: IO[bytes] | mmap.mmap) -> Any:
    """The next pickle in `stream` as dicts, lists, tuples, numbers, texts and claims to tensors.

    Raises:
        RefusedError: it asks for anything else.
        DamagedError: it is truncated or not a pickle.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):  # type: ignore[arg-type]
            if count > _MOST_OPCODES:
                raise RefusedError("more opcodes than any checkpoint has")
            step = _STEPS.get(opcode.name)
            if step is None:
                raise RefusedError(f"opcode {opcode.name}, which no tensor needs")
            step(machine, argument)
    except (RefusedError, DamagedError):
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DamagedError(str(error)) from error
    if len(machine.stack) != 1 or machine.marks:
        raise DamagedError("the pickle ends in the middle")
    return machine.stack[0]


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def after_mark(self) -> list[Any]:
        """What was pushed since the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise DamagedError("the pickle takes more from its stack than it holds")
        items = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return items

    def want(self, name: str) -> None:
        if name not in KNOWN:
            raise RefusedError(f"{name.replace(' ', '.')}, which no tensor needs")
        self.push(Global(name))

    def reduce(self) -> None:
        wanted, arguments = self.top(2)
        make = KNOWN.get(wanted.name) if isinstance(wanted, Global) else None
        if make is None:
            raise RefusedError("a call of something that does not describe a tensor")
        self.push(make(*arguments))

    def build(self) -> None:
        """Attributes for the object on top (an OrderedDict's `_metadata`, options): tables have none here."""
        target, _ = self.top(2)
        if not isinstance(target, dict | Claim):
            raise RefusedError("attributes of something that is no table")
        self.push(target)

    def persistent(self) -> None:
        (found,) = self.top(1)
        word, kind, key, _location, count, *_view = found
        fits = word == "storage" and isinstance(kind, Global) and kind.name in STORAGES
        if not fits or not isinstance(key, str) or type(count) is not int or count < 0:
            raise RefusedError("a persistent id that is no storage")
        self.push(Storage(STORAGES[kind.name], key, count))

    def set_items(self, items: list[Any]) -> None:
        table = self.stack[-1]
        if not isinstance(table, dict):
            raise RefusedError("items of something that is no table")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int | float | bool | None | tuple):
                raise RefusedError("a table with something else than texts and numbers for keys")
            table[key] = value

    def extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise RefusedError("items of something that is no list")
        self.stack[-1].extend(items)


def _constant(make: Callable[[], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.push(make())


def _literal(machine: _Machine, argument: Any) -> None:
    machine.push(argument)


def _remember(machine: _Machine, argument: Any) -> None:
    machine.memo[len(machine.memo) if argument is None else argument] = machine.stack[-1]


def _nothing(_machine: _Machine, _argument: Any) -> None:
    pass


_STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "UNICODE"), _literal
    ),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda machine, index: machine.push(machine.memo[index])),
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_LIST": _constant(list),
    "EMPTY_TUPLE": _constant(tuple),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.after_mark())),
    "TUPLE1": lambda machine, _: machine.push(machine.top(1)),
    "TUPLE2": lambda machine, _: machine.push(machine.top(2)),
    "TUPLE3": lambda machine, _: machine.push(machine.top(3)),
    "LIST": lambda machine, _: machine.push(machine.after_mark()),
    "APPEND": lambda machine, _: machine.extend(list(machine.top(1))),
    "APPENDS": lambda machine, _: machine.extend(machine.after_mark()),
    "SETITEM": lambda machine, _: machine.set_items(list(machine.top(2))),
    "SETITEMS": lambda machine, _: machine.set_items(machine.after_mark()),
    "GLOBAL": lambda machine, name: machine.want(name),
    "INST": lambda machine, name: machine.want(name),
    "STACK_GLOBAL": lambda machine, _: machine.want(" ".join(map(str, machine.top(2)))),
    "REDUCE": lambda machine, _: machine.reduce(),
    "NEWOBJ": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.persistent(),
}
