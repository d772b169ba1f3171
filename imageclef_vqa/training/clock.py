"""The time that a stage has taken, and when to save, to draw and to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

SAVE_EVERY = 30.0  # seconds: a killed run loses at most this much,
SAVE_SHARE = 0.02  # or more if saving would take more than this share of the time
DRAW_EVERY = 60.0  # seconds


class Clock:
    """The time over all calls of a stage; only the enabled clock, that of the first process, decides anything."""

    def __init__(self, before: float, max_minutes: float, *, enabled: bool) -> None:
        self._started = time.monotonic() - before
        self._limit = max_minutes * 60 or math.inf
        self._enabled = enabled
        self._saved, self._cost = time.monotonic(), 0.0
        self._drawn = self._saved

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def due(self) -> dict[str, float]:
        """Whether to `save` after this step and whether to `stop` after it, as 0 or 1 so that processes can sum it."""
        since = time.monotonic() - self._saved
        save = self._enabled and since >= SAVE_EVERY and since * SAVE_SHARE >= self._cost
        return {"save": float(save), "stop": float(self._enabled and self.seconds > self._limit)}

    def draw_due(self) -> bool:
        """Whether the curves are old enough to be drawn again, which takes a second."""
        due = time.monotonic() - self._drawn >= DRAW_EVERY
        if due:
            self._drawn = time.monotonic()
        return due

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Measure how long the block, which saves, takes."""
        started = time.monotonic()
        yield
        self._saved = time.monotonic()
        self._cost = self._saved - started
