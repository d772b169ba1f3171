"""Scores for spreadsheets (CSV) and papers (Markdown)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.evaluation.compare import Comparisons, Difference
from imageclef_vqa.evaluation.published import Published
from imageclef_vqa.evaluation.scores import FoldScore, Score
from imageclef_vqa.evaluation.words import METRICS, NONE, SYSTEMS, figure, form_cells, points

Result = Score | Comparisons | Published
Cell = str | int | float | None
_BASELINES = ("majority", "linear")


def as_csv(results: Mapping[str, Result]) -> str:
    """One row per fold, system and question, then its mean (`question_id` is `global`); a column per figure and bound.

    `results` by fold; the name is empty for a file of its own.
    """
    rows = [row for fold, result in results.items() for row in _rows(fold, result)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_markdown(results: Mapping[str, Result]) -> str:
    """A table per fold, as a paper prints it; intervals are 95%."""
    parts = []
    for fold, result in results.items():
        heading = f"### {fold}\n\n" if fold else ""
        parts.append(heading + "\n".join(_markdown(result)) + "\n")
    return "\n".join(parts)


def _rows(fold: str, result: Result) -> Iterator[dict[str, Cell]]:
    if isinstance(result, Comparisons):
        for comparison in result.comparisons:
            head: dict[str, Cell] = {"fold": fold, "against": result.baseline, "system": comparison.name}
            for each in comparison.questions:
                yield (
                    head
                    | {"question_id": each.id, "question": each.question}
                    | _flat(each.model_dump(exclude={"id", "question"}))
                )
            overall = comparison.overall.model_dump()
            yield head | {"question_id": "global", "question": "mean of questions"} | _flat(overall)
        return
    for system, score in _systems(result):
        head = {"fold": fold, "system": system}
        for question in score.questions:
            figures = _flat(question.model_dump(exclude={"id", "question"}))
            form: dict[str, Cell] = (
                {} if isinstance(score, Published) else {"form_cost": _form_cost(score, question.id)}
            )
            yield head | {"question_id": question.id, "question": question.question} | figures | form
        overall = score.overall.model_dump()
        yield head | {"question_id": "global", "question": "mean of questions"} | _flat(overall)


def _form_cost(score: Score, question_id: int) -> float:
    return round(sum(cost.points for cost in score.form if cost.question_id == question_id), 6)


def _systems(score: Score | Published) -> Iterator[tuple[str, Score | Published]]:
    if isinstance(score, FoldScore):
        if score.blip2 is not None:
            yield "blip2", score.blip2
        yield score.answered_by, score
    else:
        yield "file", score


def _flat(figures: Mapping[str, object]) -> dict[str, Cell]:
    """Figures with the bounds of their intervals beside them."""
    flat: dict[str, Cell] = {}
    spreads = figures.get("intervals")
    intervals = dict(spreads) if isinstance(spreads, Mapping) else {}
    if isinstance(interval := figures.get("interval"), (tuple, list)):
        intervals["difference" if "difference" in figures else "exact_set"] = tuple(interval)
    for name, value in figures.items():
        if name in ("interval", "intervals"):
            continue
        flat[name] = value if isinstance(value, (str, int, float)) else None
        if name in intervals:
            flat[f"{name}_low"], flat[f"{name}_high"] = intervals[name]
    return flat


def _markdown(result: Result) -> Iterator[str]:
    if isinstance(result, Comparisons):
        for comparison in result.comparisons:
            yield f"B = {_code(comparison.name)} against A = {_code(result.baseline)}, differences in points."
            yield ""
            yield from _head("question", "A", "B", "B − A", "95% interval", "B alone", "A alone", "p (Holm)")
            for each in comparison.questions:
                changed = (each.gained, each.lost, f"{each.p_holm:.3g}")
                yield _line(f"{each.id}. {each.question}", *_difference(each), *changed)
            yield _line("**mean of questions**", *_difference(comparison.overall), "", "", "")
        return
    if isinstance(result, Published):
        yield from _head("question", "accuracy")
        for published in result.questions:
            yield _line(f"{published.id}. {published.question}", f"{published.exact_set:.4f}")
        yield _line("**mean of questions**", f"**{result.overall.exact_set:.4f}**")
        return
    alone = result.blip2 if isinstance(result, FoldScore) else None
    name = SYSTEMS.get(result.answered_by, result.answered_by) if isinstance(result, FoldScore) else "exact sets"
    bases = [base for base in _BASELINES if any(getattr(each, base) is not None for each in result.questions)]
    yield from _head("question", "n", *bases, *([SYSTEMS["blip2"]] if alone else []), name, "95% interval", "F1")
    for question in result.questions:
        before = alone.question(question.id) if alone else None
        yield _line(
            f"{question.id}. {question.question}",
            question.n,
            *(figure(getattr(question, base)) for base in bases),
            *([figure(before.exact_set if before else None)] if alone else []),
            figure(question.exact_set),
            _spread(question.interval, figure),
            figure(question.f1),
        )
    overall_score = result.overall
    yield _line(
        "**mean of questions**",
        "",
        *(figure(getattr(overall_score, base)) for base in bases),
        *([figure(alone.overall.exact_set)] if alone else []),
        f"**{figure(overall_score.exact_set)}**",
        _spread(overall_score.interval, figure),
        figure(overall_score.f1),
    )
    yield ""
    if result.form:
        yield from _head("question", "fault of form", "pairs", "points", "of the mean", "given ≠ gold")
        for cost in result.form:
            yield _line(f"{cost.question_id}. {QUESTIONS[cost.question_id].text}", *form_cells(cost, result))
        yield ""
    yield from _head("measure", "mean of questions", "95% interval")
    for metric, text in METRICS.items():
        value = getattr(overall_score, metric)
        yield _line(text, figure(value), _spread(overall_score.intervals.get(metric), figure))


def _difference(each: Difference) -> tuple[str, ...]:
    return figure(each.baseline), figure(each.exact_set), points(each.difference), _spread(each.interval, points)


def _head(*names: str) -> Iterator[str]:
    yield _line(*names)
    yield "|" + "|".join(["---", *["---:"] * (len(names) - 1)]) + "|"


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _spread(interval: Sequence[float] | None, spell: Callable[[float], str]) -> str:
    if interval is None:
        return NONE
    return f"[{spell(interval[0])}, {spell(interval[1])}]"


def _code(text: str) -> str:
    return f"`{text.replace('`', '')}`"
