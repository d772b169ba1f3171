"""Plots of open questions: scores by question class, calibration, and comparisons by metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from imageclef_vqa.evaluation.calibration import calibrate
from imageclef_vqa.evaluation.display import points
from imageclef_vqa.evaluation.metrics import PairAnswers
from imageclef_vqa.evaluation.plots import BAR, BASE, INK, MINE, Drawing, draw_calibration
from imageclef_vqa.evaluation.text.compare import TextComparison
from imageclef_vqa.evaluation.text.display import TITLES, four
from imageclef_vqa.evaluation.text.folds import TextFold


def text_drawings(
    folds: Sequence[TextFold], compared: Mapping[str, Sequence[TextComparison]]
) -> dict[str, tuple[tuple[float, float], Drawing]]:
    """Name of a plot → its size in inches and what draws it."""
    plots: dict[str, tuple[tuple[float, float], Drawing]] = {}
    for fold in folds:
        plots[f"classes-{fold.name}"] = (6.5, 1.5 + 0.25 * len(fold.score.classes)), partial(_classes, fold=fold)
        given, gold = map(_folded, (fold.given, fold.gold))
        if (calibration := calibrate(given, gold, fold.probabilities, fold.groups)) is not None:
            draw = partial(draw_calibration, calibration=calibration, heading=fold.heading.lower())
            plots[f"calibration-{fold.name}"] = (4.0, 4.0), draw
    for name, comparisons in compared.items():
        for number, comparison in enumerate(comparisons, start=1):
            plots[f"comparison-{name}-{number}"] = (6.5, 3.5), partial(_difference, comparison=comparison)
    return plots


def _folded(answers: PairAnswers) -> PairAnswers:
    """Answers as exact match compares them: case and outer blanks are forgiven."""
    return {pair: tuple(each.strip().casefold() for each in given) for pair, given in answers.items()}


def _classes(axes: Any, fold: TextFold) -> None:
    """METEOR and exact match of each question class and of all rows."""
    shown = {"all rows": fold.score.overall, **fold.score.classes}
    names, rows = [*reversed(shown)], range(len(shown))
    own = [shown[name] for name in names]
    axes.barh(rows, [each.meteor for each in own], height=0.55, color=BAR, label="METEOR")
    axes.plot([each.exact for each in own], rows, "o", color=MINE, markersize=4, label="exact")
    for row, each in enumerate(own):
        if (interval := each.intervals.get("meteor")) is not None:
            axes.plot(interval, (row, row), color=INK, linewidth=1)
    axes.set_yticks(rows, [f"{name} ({shown[name].n:,})" for name in names], parse_math=False)
    axes.tick_params(length=0)
    axes.set(xlim=(0, 1), xlabel=f"{fold.heading.lower()}; METEOR of all rows {four(fold.score.overall.meteor)}")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)


def _difference(axes: Any, comparison: TextComparison) -> None:
    """The difference to the baseline by every metric."""
    names = [*reversed(comparison.overall)]
    axes.axvline(0, color=BASE, linewidth=1)
    for row, name in enumerate(names):
        each = comparison.overall[name]
        beyond = each.interval is not None and not each.interval[0] <= 0 <= each.interval[1]
        if each.interval is not None:
            axes.plot([100 * bound for bound in each.interval], (row, row), color=INK, linewidth=1)
        axes.plot(100 * each.difference, row, "o", color=MINE, markerfacecolor=MINE if beyond else "white")
    axes.set_yticks(range(len(names)), [TITLES[name] for name in names])
    axes.tick_params(length=0)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -1), max(high, 1))
    meteor = comparison.overall["meteor"].difference
    axes.set_xlabel(f"difference in points, METEOR {points(meteor)} (filled: the 95% interval excludes 0)")
    axes.set_title(comparison.name, fontsize=9, parse_math=False)
