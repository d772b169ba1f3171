"""Plots for papers and slides, as PNG and SVG. Equal scores give equal bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import BytesIO
from typing import Any

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.environment import library_import
from imageclef_vqa.evaluation.calibration import Calibration, calibrate
from imageclef_vqa.evaluation.compare import Comparison
from imageclef_vqa.evaluation.display import points
from imageclef_vqa.evaluation.folds import ReportFold
from imageclef_vqa.evaluation.paper import TABLE_2, Model

INK, MINE, BAR, BASE = "#1d2328", "#0b7285", "#85b8c2", "#a9b0b8"
_FROZEN, _TRAINED = "#3b6fb6", "#b35c00"
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": BASE,
    "svg.hashsalt": "medvqa",  # without it, the ids in an SVG are random
    "svg.fonttype": "none",
}
Drawing = Callable[[Any], None]  # of axes
_KINDS: Mapping[str, dict[str, Any]] = {"png": {"metadata": {"Software": None}}, "svg": {"metadata": {"Date": None}}}


def draw_plots(
    folds: Sequence[ReportFold], models: Sequence[Model], compared: Mapping[str, Sequence[Comparison]]
) -> dict[str, bytes]:
    """File name → content of a plot.

    Accuracy and calibration of each fold, Figure 2 if there are `models`, and each comparison, by fold.
    """
    plots: dict[str, tuple[tuple[float, float], Drawing]] = {}  # name → size in inches, drawing
    for fold in folds:
        plots[f"accuracy-{fold.name}"] = (6.5, 5.5), partial(_accuracy, fold=fold)
        if (calibration := calibrate(fold.given, fold.gold, fold.probabilities, fold.groups)) is not None:
            draw = partial(draw_calibration, calibration=calibration, heading=fold.heading.lower())
            plots[f"calibration-{fold.name}"] = (4.0, 4.0), draw
    if models:
        plots["accuracy-parameters"] = (6.0, 4.0), partial(_figure_2, models=models)
    for name, comparisons in compared.items():
        for number, comparison in enumerate(comparisons, start=1):
            plots[f"comparison-{name}-{number}"] = (6.5, 5.5), partial(_difference, comparison=comparison)
    return rendered(plots)


def rendered(plots: Mapping[str, tuple[tuple[float, float], Drawing]]) -> dict[str, bytes]:
    """File name → content, as PNG and SVG, of plots by name with their sizes in inches."""
    return {
        f"{name}.{kind}": content
        for name, (size, draw) in plots.items()
        for kind, content in _render(size, draw).items()
    }


def _render(size: tuple[float, float], draw: Drawing) -> dict[str, bytes]:
    with library_import():
        from matplotlib import rc_context
        from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        contents = {}
        for kind, options in _KINDS.items():
            with BytesIO() as file:
                figure.savefig(file, format=kind, dpi=200, **options)
                contents[kind] = file.getvalue()
    return contents


def _accuracy(axes: Any, fold: ReportFold) -> None:
    asked = [*reversed(fold.score.questions)]
    rows = range(len(asked))
    axes.barh(rows, [each.exact_set for each in asked], height=0.55, color=BAR, label=fold.system)
    if fold.score.overall.majority is not None:
        axes.plot([each.majority for each in asked], rows, "|", color=INK, markersize=11, label="majority answer")
    for row, each in enumerate(asked):
        if each.interval is not None:
            axes.plot(each.interval, (row, row), color=INK, linewidth=1)
    _question_axis(axes, [each.id for each in asked])
    axes.set(xlim=(0, 1), xlabel=f"exact-set accuracy, {fold.heading.lower()}; mean {fold.score.overall.exact_set:.3f}")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)


def draw_calibration(axes: Any, calibration: Calibration, heading: str) -> None:
    """The reliability diagram: accuracy by probability, with intervals."""
    axes.plot((0, 1), (0, 1), "--", color=BASE, linewidth=1)
    for each in calibration.bins:
        if each.interval is not None:
            axes.plot((each.confidence, each.confidence), each.interval, color=INK, linewidth=1)
    axes.plot(*zip(*((each.confidence, each.accuracy) for each in calibration.bins), strict=True), "o-", color=MINE)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="probability", ylabel="accuracy", aspect="equal")
    axes.set_title(f"{heading}, expected calibration error {calibration.error:.3f}", fontsize=9)


def _figure_2(axes: Any, models: Sequence[Model]) -> None:
    for frozen, colour, name in ((True, _FROZEN, "paper, vision frozen"), (False, _TRAINED, "paper, vision trained")):
        points = [model for model in TABLE_2 if model.frozen is frozen]
        axes.plot(
            [model.parameters for model in points], [model.accuracy for model in points], "o-", color=colour, label=name
        )
    for number, model in enumerate(models):
        if model.interval is not None:
            axes.plot((model.parameters, model.parameters), model.interval, color=INK, linewidth=1)
        named = None if number else "these runs, 95% intervals"
        axes.plot(model.parameters, model.accuracy, "D", color=MINE, label=named)
        axes.annotate(model.name, (model.parameters, model.accuracy), xytext=(8, -3), textcoords="offset points")
    caveat = "The paper has other validation images: compare the pattern, not single values."
    axes.set(
        xscale="log", ylim=(None, 1), xlabel=f"parameters\n{caveat}", ylabel="exact-set accuracy, validation images"
    )
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)


def _difference(axes: Any, comparison: Comparison) -> None:
    asked = [*reversed(comparison.questions)]
    axes.axvline(0, color=BASE, linewidth=1)
    for row, each in enumerate(asked):
        if each.interval is not None:
            axes.plot([100 * bound for bound in each.interval], (row, row), color=INK, linewidth=1)
        significant = each.p_holm < 0.05
        axes.plot(100 * each.difference, row, "o", color=MINE, markerfacecolor=MINE if significant else "white")
    _question_axis(axes, [each.id for each in asked])
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -1), max(high, 1))
    axes.set_xlabel(f"difference in points, mean {points(comparison.overall.difference)} (filled: p < 0.05)")
    axes.set_title(comparison.name, fontsize=9, parse_math=False)


def _question_axis(axes: Any, ids: Sequence[int]) -> None:
    axes.set_yticks(range(len(ids)), [f"{number}. {QUESTIONS[number].text}" for number in ids])
    axes.tick_params(length=0)
