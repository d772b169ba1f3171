"""What perturbed pictures cost, as a table and a line for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table

from imageclef_vqa.evaluation.compare import Comparison, Comparisons
from imageclef_vqa.evaluation.display import NONE, decimal, points, points_interval
from imageclef_vqa.evaluation.estimates import Interval
from imageclef_vqa.evaluation.text.compare import TextComparison, TextComparisons

_OF_SENTENCES = {"meteor": "METEOR", "exact": "exact"}


class _Change(NamedTuple):
    value: float
    baseline: float
    difference: float
    interval: Interval | None


def perturbation_table(title: str, compared: Comparisons | TextComparisons) -> Table:
    """One row per kind of perturbation: each measure, and its difference to the original pictures in points."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title, title_justify="left")
    groups = f", {compared.clusters:,} groups of near-duplicates" if compared.clusters else ""
    table.caption = f"{compared.images:,} images{groups}; {compared.resamples:,} bootstrap resamples; costs in points"
    table.caption_justify = "left"
    changes = {each.name: _changes(each) for each in compared.comparisons}
    measures = next(iter(changes.values()), {})
    table.add_column("pictures", no_wrap=True)
    for measure in measures:
        for heading in (measure, "cost", "95% interval"):
            table.add_column(heading, justify="right", no_wrap=True)
    table.add_row(compared.baseline, *(cell for own in measures.values() for cell in (decimal(own.baseline), NONE, "")))
    for name, of_kind in changes.items():
        cells = [
            (decimal(own.value), points(own.difference), points_interval(own.interval)) for own in of_kind.values()
        ]
        table.add_row(name, *(cell for three in cells for cell in three))
    return table


def perturbation_line(compared: Comparisons | TextComparisons) -> str:
    """Which kinds lower the first measure by more than chance does."""
    first = {each.name: next(iter(_changes(each).items())) for each in compared.comparisons}
    lower = [name for name, (_, own) in first.items() if own.interval is not None and own.interval[1] < 0]
    measure = next((name for name, _ in first.values()), "score")
    return f"{measure} falls significantly (95%) with: {', '.join(lower) or 'no kind'}."


def _changes(comparison: Comparison | TextComparison) -> Mapping[str, _Change]:
    """Measure → its change; exact sets of closed questions, METEOR and exact match of open ones."""
    if isinstance(comparison, Comparison):
        own = comparison.overall
        return {"exact sets": _Change(own.exact_set, own.baseline, own.difference, own.interval)}
    overall = {title: comparison.overall[name] for name, title in _OF_SENTENCES.items()}
    return {title: _Change(own.value, own.baseline, own.difference, own.interval) for title, own in overall.items()}
