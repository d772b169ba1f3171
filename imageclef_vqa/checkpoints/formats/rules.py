"""A source format as data: which of its tensors becomes which of ours, and how; what is dropped, and why.

A name may hold `#`, which stands for a number; `#-1` in one of ours is one less. `*`, in what is dropped, is anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

How = Callable[..., np.ndarray]


def keep(x: np.ndarray) -> np.ndarray:
    """As it is."""
    return x


def transpose(x: np.ndarray) -> np.ndarray:
    """A linear layer's weight: [out, in] with PyTorch, [in, out] with Paddle."""
    return x.T


def lead(x: np.ndarray) -> np.ndarray:
    """[…] → [1, …]."""
    return x[None]


def lead_twice(x: np.ndarray) -> np.ndarray:
    """[d] → [1, 1, d]."""
    return x[None, None]


@dataclass(frozen=True)
class Rule:
    """`old`, one name or several, becomes `new` by `how`; or, with `new` None, it is dropped for a `reason`.

    Of what is dropped as a copy, `copy_of` is the source's name for the original; that the two are equal is checked.
    """

    old: str | tuple[str, ...]
    new: str | None
    how: How = keep
    reason: str = ""
    copy_of: str | None = None

    @property
    def olds(self) -> tuple[str, ...]:
        return (self.old,) if isinstance(self.old, str) else self.old


def dropped(old: str, reason: str) -> Rule:
    """`old` is left out."""
    return Rule(old, None, reason=reason)


def copy(old: str, of: str) -> Rule:
    """`old` is `of` once more."""
    return Rule(old, None, reason=f"{of} once more", copy_of=of)


def linear(old: str, new: str) -> tuple[Rule, Rule]:
    """Weight and bias of a linear layer."""
    return Rule(f"{old}.weight", f"{new}.weight", transpose), Rule(f"{old}.bias", f"{new}.bias")


def norm(old: str, new: str) -> tuple[Rule, Rule]:
    """Weight and bias of a layer norm, or of anything else that stays as it is."""
    return Rule(f"{old}.weight", f"{new}.weight"), Rule(f"{old}.bias", f"{new}.bias")


def match(pattern: str, name: str) -> tuple[int, ...] | None:
    """The numbers that `#` stands for, if `name` fits `pattern`."""
    expression = re.escape(pattern).replace(r"\#", r"(0|[1-9]\d{0,3})").replace(r"\*", ".+")
    found = re.fullmatch(expression, name)
    return None if found is None else tuple(int(number) for number in found.groups())


def fill(pattern: str, numbers: tuple[int, ...]) -> str:
    """`pattern` with its `#` replaced, from the left."""
    rest = iter(numbers)
    return re.sub(r"#(-1)?", lambda found: str(next(rest) + int(found[1] or 0)), pattern)


def under(prefix: str, rules: tuple[Rule, ...], new_prefix: str = "") -> tuple[Rule, ...]:
    """`rules` for a source that has `prefix` before its names, and `new_prefix` before ours."""
    return tuple(
        Rule(
            tuple(prefix + old for old in rule.olds),
            None if rule.new is None else new_prefix + rule.new,
            rule.how,
            rule.reason.replace(rule.copy_of, prefix + rule.copy_of) if rule.copy_of else rule.reason,
            None if rule.copy_of is None else prefix + rule.copy_of,
        )
        for rule in rules
    )
