"""Progress bars of the program on a terminal's standard error; nothing elsewhere, and nothing for the Python API."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")
_shown = False


def show_progress() -> None:
    """Show progress bars from now on; the program calls it, a library stays silent."""
    global _shown
    _shown = True


def progress_display(*columns: str) -> Progress:
    """A Rich progress display; `columns` are format strings over a task's fields, shown before the remaining time."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        *(TextColumn(column) for column in columns),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not (_shown and Console(stderr=True).is_terminal),
        transient=True,
    )


def track(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Yield `items` and show how many of `total` are done; show nothing if `total` is 0."""
    if not total:
        return
    with progress_display() as display:
        task = display.add_task(description, total=total)
        for item in items:
            yield item
            display.advance(task)
