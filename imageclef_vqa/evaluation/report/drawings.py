"""Charts as SVG, coloured by the style sheet. A table on the page has the same values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from imageclef_vqa.evaluation.calibration import Calibration
from imageclef_vqa.evaluation.paper import Model
from imageclef_vqa.evaluation.scores import QuestionScore

_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 12.0, 10.0, 36.0

Scale = Callable[[float], float]  # value → coordinate
Ticks = Iterable[tuple[float, str]]  # coordinate, text


def bar(score: QuestionScore) -> str:
    """The score with its interval, over the majority answer; 0 to 1 on 100 units."""
    base = "" if score.majority is None else f'<rect class="base" y="7" height="3" width="{100 * score.majority:.1f}"/>'
    interval = ""
    if score.interval is not None:
        low, high = (100 * bound for bound in score.interval)
        interval = (
            f'<line class="range" x1="{low:.1f}" x2="{high:.1f}" y1="3" y2="3" vector-effect="non-scaling-stroke"/>'
        )
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="6"/>'
        f'<rect class="mine" height="6" width="{100 * score.exact_set:.1f}"/>{base}{interval}</svg>'
    )


def reliability(calibration: Calibration, label: str) -> str:
    """Reliability diagram: accuracy against probability, equal on the diagonal."""
    width, height = 420.0, 320.0
    x, y = _scale(_LEFT, width - _RIGHT, 0, 1), _scale(height - _BOTTOM, _TOP, 0, 1)
    intervals = "".join(
        _range(x(each.confidence), y(each.interval[0]), y(each.interval[1]))
        for each in calibration.bins
        if each.interval is not None
    )
    ticks = [(value / 4, f"{value / 4:g}") for value in range(5)]
    return _chart(
        width,
        height,
        label,
        _grid(width, height, [(x(at), text) for at, text in ticks], [(y(at), text) for at, text in ticks]),
        _axis_names(width, height, "probability", "accuracy"),
        f'<line class="ideal" x1="{x(0):.1f}" y1="{y(0):.1f}" x2="{x(1):.1f}" y2="{y(1):.1f}"/>',
        _curve(calibration, x, y, between=intervals),
    )


def small_reliability(calibration: Calibration) -> str:
    """The reliability diagram of one question, without text."""
    return (
        '<svg class="small" viewBox="0 0 100 100" aria-hidden="true"><rect class="frame" width="100" height="100"/>'
        '<line class="ideal" x1="2" y1="98" x2="98" y2="2"/>'
        f"{_curve(calibration, _scale(2, 98, 0, 1), _scale(98, 2, 0, 1))}</svg>"
    )


def accuracy_by_parameters(paper: Sequence[Model], ours: Sequence[Model], label: str) -> str:
    """Figure 2 of the paper: a line each for frozen and trained vision; our runs as diamonds with their intervals."""
    width, height = 680.0, 380.0
    models = [*paper, *ours]
    decades = [math.log10(model.parameters) for model in models]
    first, last = math.floor(min(decades)), math.ceil(max(decades))
    low = math.floor(10 * min(model.interval[0] if model.interval else model.accuracy for model in models)) / 10
    log_x, y = _scale(_LEFT, width - _RIGHT, first, last), _scale(height - _BOTTOM, _TOP, low, 1)
    across = [(log_x(decade), parameters_text(10.0**decade)) for decade in range(first, last + 1)]
    up = [(y(value / 10), f"{value / 10:.1f}") for value in range(round(10 * low), 11)]

    def x(parameters: float) -> float:
        return log_x(math.log10(parameters))

    lines = ""
    for frozen, name in ((True, "frozen"), (False, "trained")):
        points = [(x(model.parameters), y(model.accuracy)) for model in paper if model.frozen is frozen]
        lines += f'<polyline class="curve {name}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}"/>'
        lines += "".join(f'<circle class="dot {name}" r="4.5" cx="{a:.1f}" cy="{b:.1f}"/>' for a, b in points)
    return _chart(
        width,
        height,
        label,
        _grid(width, height, across, up),
        _axis_names(width, height, "parameters", "exact-set accuracy, validation images"),
        lines,
        *(_diamond(model, x, y, text_left=x(model.parameters) > width / 2) for model in ours),
    )


def parameters_text(value: float) -> str:
    """`1.4B`"""
    for size, name in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if value >= size:
            return f"{value / size:.3g}{name}"
    return f"{value:g}"


def _diamond(model: Model, x: Scale, y: Scale, *, text_left: bool) -> str:
    a, b = x(model.parameters), y(model.accuracy)
    interval = "" if model.interval is None else _range(a, y(model.interval[0]), y(model.interval[1]))
    shift, anchor = (-12, "end") if text_left else (12, "start")
    return (
        f'{interval}<path class="ours" d="M{a:.1f} {b - 7:.1f}l7 7l-7 7l-7-7z"/>'
        f'<text x="{a + shift:.1f}" y="{b + 4:.1f}" text-anchor="{anchor}">{escape(model.name)}</text>'
    )


def _curve(calibration: Calibration, x: Scale, y: Scale, between: str = "") -> str:
    """The bins as dots on a line, with `between` drawn over the line and under the dots."""
    points = [(x(each.confidence), y(each.accuracy)) for each in calibration.bins]
    dots = "".join(f'<circle class="mine" r="4" cx="{a:.1f}" cy="{b:.1f}"/>' for a, b in points)
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    return f'<polyline class="curve" points="{line}"/>{between}{dots}'


def _range(x: float, low: float, high: float) -> str:
    return f'<line class="range" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'


def _scale(start: float, end: float, low: float, high: float) -> Scale:
    return lambda value: start + (end - start) * (value - low) / (high - low)


def _chart(width: float, height: float, label: str, *content: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
        f"{''.join(content)}</svg>"
    )


def _grid(width: float, height: float, across: Ticks, up: Ticks) -> str:
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
