"""The fields of a `config.json` from outside, each checked for its type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from imageclef_vqa.errors import MedvqaError

_MISSING = object()
_LARGEST = 2**31 - 1
_LARGEST_EPSILON = 1e-3
MOST_PIXELS = 2**14  # along an image's side


class Fields:
    """The fields of a `config.json`, or of a table within it.

    Raises (all methods):
        MedvqaError: a field is missing or of the wrong type; the message names file and field.
    """

    def __init__(self, table: Any, where: str) -> None:
        self.where = where
        if not isinstance(table, Mapping):
            raise MedvqaError(f"{where}: it must hold a table of fields")
        self._table = table

    def __contains__(self, name: str) -> bool:
        return name in self._table

    @property
    def names(self) -> list[str]:
        return list(self._table)

    def get(self, name: str, default: Any = None) -> Any:
        """The value as it is."""
        return self._table.get(name, default)

    def table(self, name: str, defaults: Mapping[str, Any] | None = None) -> Fields:
        """A table within this one; with `defaults`, the table and these of its fields may be missing."""
        where, found = f"{self.where}, {name}", self._value(name, _MISSING if defaults is None else {})
        self.demand(isinstance(found, Mapping), f"{name} is {found!r}, not a table of fields")
        return Fields(found, where).with_defaults(defaults or {})

    def with_defaults(self, defaults: Mapping[str, Any]) -> Fields:
        """These fields, and `defaults` for those that are missing."""
        return Fields({**defaults, **self._table}, self.where)

    def positive(self, name: str, default: Any = _MISSING, *, most: int = _LARGEST) -> int:
        """An integer from 1 to `most`."""
        value = self._value(name, default)
        fits = type(value) is int and 0 < value <= most
        self.demand(fits, f"{name} is {value!r}, not a number from 1 on" + f" to {most}" * (most < _LARGEST))
        return int(value)

    def heads(self, name: str, default: Any = _MISSING, *, width: int) -> int:
        """A number of attention heads; it must divide `width`."""
        value = self.positive(name, default)
        self.demand(width % value == 0, f"{name} is {value}, which does not divide the width {width}")
        return value

    def fraction(self, name: str, default: Any = _MISSING) -> float:
        """A number from 0 to less than 1: an epsilon, a dropout rate."""
        value = self._value(name, default)
        fits = type(value) in (int, float) and math.isfinite(value) and 0 <= value < 1
        self.demand(fits, f"{name} is {value!r}, not a number from 0 to less than 1")
        return float(value)

    def epsilon(self, name: str, default: Any = _MISSING) -> float:
        """The epsilon of a layer norm; Paddle computes with at most 0.001 (3.3.1)."""
        value = self.fraction(name, default)
        self.demand(value <= _LARGEST_EPSILON, f"{name} is {value}; more than {_LARGEST_EPSILON} is not supported")
        return value

    def flag(self, name: str, default: Any = _MISSING) -> bool:
        value = self._value(name, default)
        self.demand(type(value) is bool, f"{name} is {value!r}, not true or false")
        return bool(value)

    def text(self, name: str, default: Any = _MISSING) -> str:
        value = self._value(name, default)
        self.demand(isinstance(value, str), f"{name} is {value!r}, not a text")
        return str(value)

    def one_of(self, name: str, choices: Mapping[str, Any], default: Any = _MISSING) -> str:
        value = self.text(name, default)
        self.demand(value in choices, f"{name} is {value!r}, not one of {', '.join(choices)}")
        return value

    def demand(self, holds: bool, complaint: str) -> None:
        if not holds:
            raise MedvqaError(f"{self.where}: {complaint}")

    def _value(self, name: str, default: Any) -> Any:
        value = self._table.get(name)
        value = default if value is None else value
        self.demand(value is not _MISSING, f"{name} is missing")
        return value
