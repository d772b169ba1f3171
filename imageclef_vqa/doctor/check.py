"""The result of one check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["good", "note", "stop"]


@dataclass(frozen=True)
class Check:
    """What was found, the verdict on it, a remedy, and figures for `--json`.

    `stop`: a run cannot work. `note`: it can, with a restriction.
    """

    name: str
    verdict: Verdict
    found: str
    remedy: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
