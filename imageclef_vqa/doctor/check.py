"""One thing that was looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["good", "note", "stop"]


@dataclass(frozen=True)
class Check:
    """What was found, whether it is good, worth a note or would stop a run, and what mends it."""

    name: str
    verdict: Verdict
    found: str
    remedy: str | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
