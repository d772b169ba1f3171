"""Pictures as SVG, coloured by the style sheet. Tables beside them say the same in figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from imageclef_vqa.evaluation.calibration import Calibration
from imageclef_vqa.evaluation.paper import Model
from imageclef_vqa.evaluation.scores import QuestionScore

_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 12.0, 10.0, 36.0

Place = Callable[[float], float]


def bar(score: QuestionScore) -> str:
    """The score over the majority answer, 0 to 1 on 100 units, with the interval as a line."""
    base = "" if score.majority is None else f'<rect class="base" y="7" height="3" width="{100 * score.majority:.1f}"/>'
    spread = ""
    if score.interval is not None:
        low, high = (100 * bound for bound in score.interval)
        spread = (
            f'<line class="range" x1="{low:.1f}" x2="{high:.1f}" y1="3" y2="3" vector-effect="non-scaling-stroke"/>'
        )
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="6"/>'
        f'<rect class="mine" height="6" width="{100 * score.exact_set:.1f}"/>{base}{spread}</svg>'
    )


def reliability(calibration: Calibration, about: str) -> str:
    """Share of right answers against the probability that they were given with; on the diagonal, both are equal."""
    width, height = 420.0, 320.0
    x, y = _axis(_LEFT, width - _RIGHT, 0, 1), _axis(height - _BOTTOM, _TOP, 0, 1)
    line = " ".join(f"{x(each.confidence):.1f},{y(each.accuracy):.1f}" for each in calibration.bins)
    spreads = "".join(
        f'<line class="range" x1="{x(each.confidence):.1f}" x2="{x(each.confidence):.1f}" '
        f'y1="{y(each.interval[0]):.1f}" y2="{y(each.interval[1]):.1f}"/>'
        for each in calibration.bins
        if each.interval is not None
    )
    dots = "".join(
        f'<circle class="mine" r="4" cx="{x(each.confidence):.1f}" cy="{y(each.accuracy):.1f}"/>'
        for each in calibration.bins
    )
    ticks = [(value / 4, f"{value / 4:g}") for value in range(5)]
    return _picture(
        width,
        height,
        about,
        _grid(width, height, [(x(at), text) for at, text in ticks], [(y(at), text) for at, text in ticks])
        + _axis_names(width, height, "probability given", "share right")
        + f'<line class="ideal" x1="{x(0):.1f}" y1="{y(0):.1f}" x2="{x(1):.1f}" y2="{y(1):.1f}"/>'
        + f'<polyline class="curve" points="{line}"/>{spreads}{dots}',
    )


def small_reliability(calibration: Calibration) -> str:
    """The same curve without words, for one question."""
    x, y = _axis(2, 98, 0, 1), _axis(98, 2, 0, 1)
    line = " ".join(f"{x(each.confidence):.1f},{y(each.accuracy):.1f}" for each in calibration.bins)
    dots = "".join(
        f'<circle class="mine" r="4" cx="{x(each.confidence):.1f}" cy="{y(each.accuracy):.1f}"/>'
        for each in calibration.bins
    )
    return (
        '<svg class="small" viewBox="0 0 100 100" aria-hidden="true"><rect class="frame" width="100" height="100"/>'
        f'<line class="ideal" x1="2" y1="98" x2="98" y2="2"/><polyline class="curve" points="{line}"/>{dots}</svg>'
    )


def accuracy_by_parameters(paper: Sequence[Model], ours: Sequence[Model], about: str) -> str:
    """Figure 2 of the paper: two lines, vision frozen or trained; ours as diamonds with their intervals."""
    width, height = 680.0, 380.0
    everyone = [*paper, *ours]
    decades = [math.log10(model.parameters) for model in everyone]
    first, last = math.floor(min(decades)), math.ceil(max(decades))
    x = _axis(_LEFT, width - _RIGHT, first, last)
    low = math.floor(10 * min(model.interval[0] if model.interval else model.accuracy for model in everyone)) / 10
    y = _axis(height - _BOTTOM, _TOP, low, 1)
    across = [(x(decade), parameters_text(10.0**decade)) for decade in range(first, last + 1)]
    up = [(y(value / 10), f"{value / 10:.1f}") for value in range(round(10 * low), 11)]

    def at(model: Model) -> tuple[float, float]:
        return x(math.log10(model.parameters)), y(model.accuracy)

    lines = ""
    for frozen, name in ((True, "frozen"), (False, "trained")):
        points = [at(model) for model in paper if model.frozen is frozen]
        lines += f'<polyline class="curve {name}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}"/>'
        lines += "".join(f'<circle class="dot {name}" r="4.5" cx="{a:.1f}" cy="{b:.1f}"/>' for a, b in points)
    for model in ours:
        a, b = at(model)
        if model.interval is not None:
            lines += (
                f'<line class="range" x1="{a:.1f}" x2="{a:.1f}" y1="{y(model.interval[0]):.1f}" '
                f'y2="{y(model.interval[1]):.1f}"/>'
            )
        lines += f'<path class="ours" d="M{a:.1f} {b - 7:.1f}l7 7l-7 7l-7-7z"/>'
        end = a > width / 2
        lines += (
            f'<text x="{a + (-12 if end else 12):.1f}" y="{b + 4:.1f}" text-anchor="{"end" if end else "start"}">'
            f"{escape(model.name)}</text>"
        )
    return _picture(
        width,
        height,
        about,
        _grid(width, height, across, up)
        + _axis_names(width, height, "parameters", "exact sets, validation images")
        + lines,
    )


def parameters_text(value: float) -> str:
    for size, name in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if value >= size:
            return f"{value / size:.3g}{name}"
    return f"{value:g}"


def _axis(start: float, end: float, low: float, high: float) -> Place:
    return lambda value: start + (end - start) * (value - low) / (high - low)


def _picture(width: float, height: float, about: str, content: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(about)}">{content}</svg>'
    )


def _grid(width: float, height: float, across: Iterable[tuple[float, str]], up: Iterable[tuple[float, str]]) -> str:
    base = height - _BOTTOM
    parts = [
        f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP:g}" y2="{base:g}"/>'
        f'<text class="tick" x="{at:.1f}" y="{base + 17:g}" text-anchor="middle">{text}</text>'
        for at, text in across
    ]
    parts += [
        f'<line class="grid" x1="{_LEFT:g}" x2="{width - _RIGHT:g}" y1="{at:.1f}" y2="{at:.1f}"/>'
        f'<text class="tick" x="{_LEFT - 6:g}" y="{at + 4:.1f}" text-anchor="end">{text}</text>'
        for at, text in up
    ]
    return "".join(parts)


def _axis_names(width: float, height: float, across: str, up: str) -> str:
    middle = (height - _BOTTOM + _TOP) / 2
    return (
        f'<text class="tick" x="{(width + _LEFT) / 2:g}" y="{height - 5:g}" text-anchor="middle">{across}</text>'
        f'<text class="tick" transform="translate(11 {middle:g}) rotate(-90)" text-anchor="middle">{up}</text>'
    )
