"""A source format as data: which of its tensors becomes which of ours, and how; which are dropped, and why.

`#` in a name stands for a number; `#-1` in one of our names is that number less one. `*` in a dropped name matches
anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from imageclef_vqa.checkpoints.folder import FolderConfig

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
    """`old`, one name or several, becomes `new` by `how`; if `new` is None, it is dropped for a `reason`.

    For a dropped copy, `copy_of` is the source's name of the original; `convert` checks that the two are equal.
    """

    old: str | tuple[str, ...]
    new: str | None
    how: How = keep
    reason: str = ""
    copy_of: str | None = None

    @property
    def olds(self) -> tuple[str, ...]:
        return (self.old,) if isinstance(self.old, str) else self.old


@dataclass(frozen=True)
class SourceLayout:
    """How a source maps onto our parts: their sizes, the rules for its tensors, and which of ours it does not have.

    `absent` maps patterns of our names to the reason why this format has no such tensor.
    """

    config: FolderConfig
    rules: tuple[Rule, ...]
    absent: Mapping[str, str] = field(default_factory=dict)


def dropped(old: str, reason: str) -> Rule:
    """`old` is left out."""
    return Rule(old, None, reason=reason)


def copy(old: str, of: str) -> Rule:
    """`old` is a copy of `of`."""
    return Rule(old, None, reason=f"a copy of {of}", copy_of=of)


def linear(old: str, new: str) -> tuple[Rule, Rule]:
    """Weight and bias of a linear layer."""
    return Rule(f"{old}.weight", f"{new}.weight", transpose), Rule(f"{old}.bias", f"{new}.bias")


def norm(old: str, new: str) -> tuple[Rule, Rule]:
    """Weight and bias of a layer norm, or of any layer whose tensors stay as they are."""
    return Rule(f"{old}.weight", f"{new}.weight"), Rule(f"{old}.bias", f"{new}.bias")


def match(pattern: str, name: str) -> tuple[int, ...] | None:
    """The numbers in place of `#` if `name` fits `pattern`, else None."""
    expression = re.escape(pattern).replace(r"\#", r"(0|[1-9]\d{0,3})").replace(r"\*", ".+")
    found = re.fullmatch(expression, name)
    return None if found is None else tuple(int(number) for number in found.groups())


def fill(pattern: str, numbers: tuple[int, ...]) -> str:
    """`pattern` with `numbers` in place of its `#`, from the left."""
    rest = iter(numbers)
    return re.sub(r"#(-1)?", lambda found: str(next(rest) + int(found[1] or 0)), pattern)


def under(prefix: str, rules: tuple[Rule, ...], new_prefix: str = "") -> tuple[Rule, ...]:
    """`rules` with `prefix` before the source's names and `new_prefix` before ours."""
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
