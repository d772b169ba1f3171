"""Scores and comparisons of sentences in lines, tables for the terminal, CSV and Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.table import Table

from imageclef_vqa.errors import counted
from imageclef_vqa.evaluation.display import NONE, interval_text, p_text
from imageclef_vqa.evaluation.estimates import Interval
from imageclef_vqa.evaluation.text.compare import TextComparison, TextComparisons
from imageclef_vqa.evaluation.text.metrics import TEXT_METRICS
from imageclef_vqa.evaluation.text.scores import TextMetrics, TextScore
from imageclef_vqa.evaluation.text.wordnet import HOW_TO_GET_IT

TITLES = {
    "bleu": "BLEU",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "meteor": "METEOR",
    "exact": "exact",
    "fact_precision": "facts: precision",
    "fact_recall": "facts: recall",
}
Cell = str | int | float | None


def four(value: float | None) -> str:
    """`0.6234`, as the organisers print metrics, or a dash."""
    return NONE if value is None else f"{value:.4f}"


def text_lines(score: TextScore) -> list[str]:
    """Missing and extra answers, synonyms, and images that resemble training images."""
    lines = []
    if score.missing:
        lines.append(f"{counted(score.missing, 'row has', 'rows have')} no answer: scored as empty.")
    if score.extra:
        lines.append(f"{counted(score.extra, 'answer')} to rows without gold: ignored.")
    if not score.synonyms:
        lines.append(no_synonyms())
    if score.seen:
        lines.append(f"{score.seen:,} of the {score.images:,} images are, or resemble, training images.")
    return lines


def no_synonyms() -> str:
    return f"METEOR without synonyms, which lowers it: WordNet is not here. Get it by {HOW_TO_GET_IT}."


def text_line(heading: str, score: TextScore) -> str:
    """`Test images: METEOR 0.6741 [0.66, 0.69], …`."""
    own = score.overall
    low_high = own.intervals.get("meteor")
    interval = "" if low_high is None else f" [{low_high[0]:.4f}, {low_high[1]:.4f}]"
    others = f"BLEU {four(own.bleu)}, ROUGE-L {four(own.rougeL)}, exact {four(own.exact)}"
    return f"{heading}: METEOR {four(own.meteor)}{interval}, {others} over {own.n:,} rows."


def text_table(title: str, score: TextScore) -> Table:
    """Every metric over all rows, with its interval and that of the commonest training answers."""
    groups = f", {score.clusters:,} groups of near-duplicates" if score.clusters else ""
    table = Table(box=SIMPLE_HEAD, padding=(0, 2, 0, 0), title=title, title_justify="left")
    table.caption = (
        f"{score.overall.n:,} rows, {score.images:,} images{groups}; {score.resamples:,} bootstrap resamples"
    )
    table.caption_justify = "left"
    for heading in ("metric", "commonest", "score", "95% interval"):
        if heading != "commonest" or score.commonest is not None:
            justify: Literal["left", "right"] = "left" if heading == "metric" else "right"
            table.add_column(heading, justify=justify, no_wrap=True, style="bold" if heading == "score" else None)
    for name in TEXT_METRICS:
        base = [] if score.commonest is None else [four(getattr(score.commonest, name))]
        interval = interval_text(score.overall.intervals.get(name))
        table.add_row(TITLES[name], *base, four(getattr(score.overall, name)), interval)
    return table


def group_table(title: str, groups: dict[str, TextMetrics]) -> Table:
    """One row per question class, or complexity."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("rows", "BLEU", "ROUGE-L", "METEOR", "exact", "95% interval", "facts P/R"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, own in groups.items():
        facts = f"{_three(own.fact_precision)}/{_three(own.fact_recall)}"
        numbers = [f"{value:.3f}" for value in (own.bleu, own.rougeL, own.meteor, own.exact)]
        table.add_row(name, f"{own.n:,}", *numbers, interval_text(own.intervals.get("exact")), facts)
    return table


def fact_table(score: TextScore) -> Table:
    """Precision and recall of each kind of facts."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 2, 0, 0), title="Facts that the sentences name", title_justify="left")
    for heading in ("kind", "in gold", "precision", "recall"):
        table.add_column(heading, justify="left" if heading == "kind" else "right", no_wrap=True)
    for kind, own in score.overall.facts.items():
        table.add_row(kind, f"{own.gold:,}", _three(own.precision), _three(own.recall))
    return table


def comparison_table(title: str, comparisons: TextComparisons, comparison: TextComparison) -> Table:
    """One system compared with the baseline, metric by metric."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 2, 0, 0), title=title, title_justify="left")
    groups = f", {comparisons.clusters:,} groups of near-duplicates" if comparisons.clusters else ""
    table.caption = f"{comparisons.images:,} images{groups}; {comparisons.resamples:,} bootstrap resamples"
    table.caption_justify = "left"
    for heading in ("metric", "A", "B", "B − A", "95% interval"):
        table.add_column(heading, justify="left" if heading == "metric" else "right", no_wrap=True)
    for name, each in comparison.overall.items():
        interval = NONE if each.interval is None else f"{_signed(each.interval[0])} to {_signed(each.interval[1])}"
        table.add_row(TITLES[name], four(each.baseline), four(each.value), _signed(each.difference), interval)
    return table


def comparison_lines(comparisons: TextComparisons, comparison: TextComparison) -> list[str]:
    """Where the difference is significant, missing answers, and synonyms."""
    significant = [TITLES[name] for name, each in comparison.overall.items() if _beyond_chance(each.interval)]
    changed = [
        f"{name} (+{each.gained}/−{each.lost}, p {p_text(each.p_holm)})"
        for name, each in comparison.classes.items()
        if each.p_holm < 0.05
    ]
    lines = [
        f"Significant at 95%: {', '.join(significant) or 'no metric'}.",
        "Classes whose exact match differs (McNemar's test, p < 0.05 after Holm's correction for "
        f"{len(comparison.classes)} classes): {', '.join(changed) or 'none'}.",
    ]
    for missing, system in ((comparisons.baseline_missing, "A"), (comparison.missing, "B")):
        if missing:
            lines.append(f"{counted(missing, 'row has', 'rows have')} no answer in {system}: scored as empty.")
    return lines if comparisons.synonyms else [*lines, no_synonyms()]


def rows_of(result: TextScore | TextComparisons) -> Iterator[dict[str, Cell]]:
    """One row of CSV per group of rows, or per metric that is compared."""
    if isinstance(result, TextComparisons):
        for comparison in result.comparisons:
            for name, each in comparison.overall.items():
                head = {"against": result.baseline, "system": comparison.name, "metric": name}
                yield head | each.model_dump(exclude={"interval"}) | _bounds("difference", each.interval)
        return
    for group, name, own in _groups(result):
        row: dict[str, Cell] = {"system": result.answered_by, "by": group, "name": name, "n": own.n}
        for metric in TEXT_METRICS:
            row |= {metric: getattr(own, metric)} | _bounds(metric, own.intervals.get(metric))
        yield row


def markdown_rows(result: TextScore | TextComparisons) -> Iterator[Sequence[str]]:
    """A heading and the rows of a Markdown table."""
    if isinstance(result, TextComparisons):
        yield ("metric", "A", "B", "B − A", "95% interval")
        for comparison in result.comparisons:
            for name, each in comparison.overall.items():
                interval = NONE if each.interval is None else f"[{each.interval[0]:+.4f}, {each.interval[1]:+.4f}]"
                yield (TITLES[name], four(each.baseline), four(each.value), _signed(each.difference), interval)
        return
    yield ("rows", "n", *(TITLES[name] for name in TEXT_METRICS))
    for group, name, own in _groups(result):
        yield (name or group, f"{own.n:,}", *(four(getattr(own, metric)) for metric in TEXT_METRICS))


def _groups(score: TextScore) -> Iterator[tuple[str, str, TextMetrics]]:
    for name, own in score.classes.items():
        yield "class", name, own
    for name, own in score.complexities.items():
        yield "complexity", name, own
    if score.commonest is not None:
        yield "commonest training answers", "", score.commonest
    yield "all", "", score.overall


def _bounds(name: str, interval: Interval | None) -> dict[str, Cell]:
    return {} if interval is None else {f"{name}_low": interval[0], f"{name}_high": interval[1]}


def _three(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value + 0.0:+.4f}".replace("-", "−")


def _beyond_chance(interval: Interval | None) -> bool:
    return interval is not None and (interval[0] > 0 or interval[1] < 0)
