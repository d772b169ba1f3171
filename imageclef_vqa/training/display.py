"""The display while a stage trains; nothing is shown where standard error is not a terminal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from imageclef_vqa import devices
from imageclef_vqa.progress import progress_display
from imageclef_vqa.training.pairs import Batch
from imageclef_vqa.training.state import TrainerState

_RECENT = 20  # steps over which speed is measured


class TrainingDisplay:
    """A progress bar over all steps, and below it losses, each beside chance where that is known, speed and memory.

    `references` returns `chance_` and a loss's name for a batch, as `statements.reference_losses` does.
    """

    def __init__(
        self, name: str, epochs: int, per_epoch: int, references: Callable[[Batch], Mapping[str, float]], *, shown: bool
    ) -> None:
        console = Console(stderr=True)
        self._bar = progress_display()
        self._task = self._bar.add_task(name, total=epochs * per_epoch)
        self._status, self._name, self._epochs, self._references = Text(), name, epochs, references
        self._recent: deque[tuple[float, int, int]] = deque([(time.monotonic(), 0, 0)], maxlen=_RECENT)
        self._live = (
            Live(Group(self._bar, self._status), console=console, transient=True, refresh_per_second=4)
            if shown and console.is_terminal
            else None
        )

    def __enter__(self) -> TrainingDisplay:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, state: TrainerState, parts: Mapping[str, float], batch: Batch) -> None:
        """Update the display after a step on `batch` with the losses `parts`."""
        if not self._live:
            return
        self._recent.append((time.monotonic(), len(batch.images), len(batch.pairs)))
        took = self._recent[-1][0] - self._recent[0][0]
        seen, asked = (sum(each[column] for each in list(self._recent)[1:]) for column in (1, 2))
        chance = self._references(batch)
        losses = " + ".join(
            f"{name} {value:.3f}" + (f" (chance {chance[of]:.3f})" if (of := f"chance_{name}") in chance else "")
            for name, value in parts.items()
        )
        lines = [
            f"  loss {sum(parts.values()):.3f}" + (f" = {losses}" if len(parts) > 1 else ""),
            f"  {seen / took:.1f} images/s, {asked / took:.0f} pairs/s, {devices.memory_in_use() / 2**30:.1f} GB",
        ]
        self._status.plain = "\n".join(lines)
        description = f"{self._name} epoch {min(state.epoch + 1, self._epochs)}/{self._epochs}"
        self._bar.update(self._task, completed=state.total, description=description)
