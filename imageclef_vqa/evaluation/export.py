"""Scores and comparisons as CSV for spreadsheets and Markdown for papers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence

from pydantic import BaseModel

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.evaluation.compare import Comparisons, Difference
from imageclef_vqa.evaluation.display import METRICS, NONE, accuracy_table, decimal, points
from imageclef_vqa.evaluation.published import Published
from imageclef_vqa.evaluation.scores import FoldScore, Score
from imageclef_vqa.evaluation.summary import formatting_cells
from imageclef_vqa.evaluation.text.compare import TextComparisons
from imageclef_vqa.evaluation.text.display import markdown_rows, rows_of
from imageclef_vqa.evaluation.text.scores import TextScore

Result = Score | Comparisons | Published | TextScore | TextComparisons
Cell = str | int | float | None
_MEAN = {"question_id": "global", "question": "mean of questions"}


def as_csv(results: Mapping[str, Result]) -> str:
    """One row per fold, system and question, then the mean (`question_id` is `global`).

    Each value and each bound of an interval has a column. `results` is by fold; the name of a single file is empty.
    """
    rows = [{"fold": fold, **row} for fold, result in results.items() for row in _rows(result)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _rows(result: Result) -> Iterator[dict[str, Cell]]:
    if isinstance(result, TextScore | TextComparisons):
        yield from rows_of(result)
        return
    if isinstance(result, Comparisons):
        for comparison in result.comparisons:
            head: dict[str, Cell] = {"against": result.baseline, "system": comparison.name}
            for each in comparison.questions:
                yield head | {"question_id": each.id, "question": each.question} | _flat(each)
            yield head | _MEAN | _flat(comparison.overall)
        return
    for system, score in _systems(result):
        head = {"system": system}
        for question in score.questions:
            row = head | {"question_id": question.id, "question": question.question} | _flat(question)
            if isinstance(score, Score):
                own = (loss.points for loss in score.formatting if loss.question_id == question.id)
                row["formatting_loss"] = round(sum(own), 6)
            yield row
        yield head | _MEAN | _flat(score.overall)


def _systems(score: Score | Published) -> Iterator[tuple[str, Score | Published]]:
    if isinstance(score, FoldScore):
        if score.blip2 is not None:
            yield "blip2", score.blip2
        yield score.answered_by, score
    else:
        yield "file", score


def _flat(model: BaseModel) -> dict[str, Cell]:
    """The fields of a model but its id and question, with the bounds of each interval after its value."""
    fields = model.model_dump(exclude={"id", "question"})
    intervals = dict(fields.pop("intervals", {}))
    if (interval := fields.pop("interval", None)) is not None:
        intervals["difference" if "difference" in fields else "exact_set"] = interval
    flat: dict[str, Cell] = {}
    for name, value in fields.items():
        flat[name] = value
        if name in intervals:
            flat[f"{name}_low"], flat[f"{name}_high"] = intervals[name]
    return flat


def as_markdown(results: Mapping[str, Result]) -> str:
    """The tables of each fold, as a paper prints them; intervals are 95%."""
    parts = []
    for fold, result in results.items():
        heading = f"### {fold}\n\n" if fold else ""
        if isinstance(result, TextScore | TextComparisons):
            first, *rest = markdown_rows(result)
            lines = iter([*_head(*first), *(_line(*row) for row in rest)])
        elif isinstance(result, Comparisons):
            lines = _comparison_lines(result)
        elif isinstance(result, Published):
            lines = _published_lines(result)
        else:
            lines = _score_lines(result)
        parts.append(heading + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _comparison_lines(result: Comparisons) -> Iterator[str]:
    for comparison in result.comparisons:
        yield f"B = {_code(comparison.name)}, A = {_code(result.baseline)}; differences in points."
        yield ""
        yield from _head("question", "A", "B", "B − A", "95% interval", "only B right", "only A right", "p (Holm)")
        for each in comparison.questions:
            changed = (each.gained, each.lost, f"{each.p_holm:.3g}")
            yield _line(f"{each.id}. {each.question}", *_difference(each), *changed)
        yield _line("**mean of questions**", *_difference(comparison.overall), "", "", "")


def _published_lines(result: Published) -> Iterator[str]:
    yield from _head("question", "accuracy")
    for question in result.questions:
        yield _line(f"{question.id}. {question.question}", f"{question.exact_set:.4f}")
    yield _line("**mean of questions**", f"**{result.overall.exact_set:.4f}**")


def _score_lines(result: Score) -> Iterator[str]:
    accuracies, overall = accuracy_table(result), result.overall
    yield from _head("question", "n", *accuracies.headings, "95% interval", "F1")
    for question in result.questions:
        own = map(decimal, accuracies.rows[question.id])
        interval = _interval(question.interval, decimal)
        yield _line(f"{question.id}. {question.question}", question.n, *own, interval, decimal(question.f1))
    *before, mean = map(decimal, accuracies.mean)
    interval = _interval(overall.interval, decimal)
    yield _line("**mean of questions**", "", *before, f"**{mean}**", interval, decimal(overall.f1))
    yield ""
    if result.formatting:
        yield from _head("question", "formatting fault", "pairs", "points", "of the mean", "given ≠ gold")
        for loss in result.formatting:
            yield _line(f"{loss.question_id}. {QUESTIONS[loss.question_id].text}", *formatting_cells(loss, result))
        yield ""
    yield from _head("metric", "mean of questions", "95% interval")
    for metric, text in METRICS.items():
        yield _line(text, decimal(getattr(overall, metric)), _interval(overall.intervals.get(metric), decimal))


def _difference(each: Difference) -> tuple[str, ...]:
    return decimal(each.baseline), decimal(each.exact_set), points(each.difference), _interval(each.interval, points)


def _head(*names: str) -> Iterator[str]:
    yield _line(*names)
    yield "|" + "|".join(["---", *["---:"] * (len(names) - 1)]) + "|"


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _interval(interval: Sequence[float] | None, as_text: Callable[[float], str]) -> str:
    return NONE if interval is None else f"[{as_text(interval[0])}, {as_text(interval[1])}]"


def _code(text: str) -> str:
    return f"`{text.replace('`', '')}`"
