"""The score of answers to open questions: overall, by question class and by complexity, with clustered intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from imageclef_vqa.editions import OpenQuestion
from imageclef_vqa.errors import MedvqaError
from imageclef_vqa.evaluation.estimates import Interval, interval_of, rounded, share_interval
from imageclef_vqa.evaluation.metrics import Numbers, PairAnswers
from imageclef_vqa.evaluation.text.metrics import (
    COLUMNS,
    TEXT_METRICS,
    TextMeter,
    TextTable,
    fact_counts,
    metrics_of,
    tabulate_text,
)
from imageclef_vqa.evaluation.uncertainty import Bootstrap, clusters_of

RESAMPLES = 2_000  # of 29 columns each
Questions = Mapping[tuple[str, int], OpenQuestion]  # (image id, row) → question


class FactScore(BaseModel):
    """Facts of one kind: the share of the given ones that gold names, the other way round, and how many gold names."""

    model_config = ConfigDict(frozen=True)

    precision: float | None
    recall: float | None
    gold: int


class TextMetrics(BaseModel):
    """Every metric over `n` pairs, from 0 to 1; `intervals` are 95%, by metric.

    Precision and recall of facts are None where there are none. Without more than one cluster there is no interval.
    """

    model_config = ConfigDict(frozen=True)

    n: int
    bleu: float
    rouge1: float
    rouge2: float
    rougeL: float  # noqa: N815 (its name in the organisers' files)
    meteor: float
    exact: float
    fact_precision: float | None
    fact_recall: float | None
    facts: dict[str, FactScore]
    intervals: dict[str, Interval]


class TextScore(BaseModel):
    """The score of one set of answers to open questions.

    Attributes:
        overall: over all rows, as the organisers compute it.
        classes, complexities: over the rows of each; a row with several classes counts in each of them.
        commonest: the commonest training answer to the same question, as a baseline; None without training answers.
        clusters: of the bootstrap; None if it draws images, because no groups are known.
        missing, extra: gold rows without an answer, which count as empty, and answers without gold, which are ignored.
        synonyms: whether METEOR knew them (WordNet).
        seen: images that are, or resemble, training images; None if the training images are not known.
    """

    model_config = ConfigDict(frozen=True)

    overall: TextMetrics = Field(serialization_alias="global")
    classes: dict[str, TextMetrics]
    complexities: dict[str, TextMetrics]
    commonest: TextMetrics | None = None
    images: int
    clusters: int | None
    resamples: int
    missing: int
    extra: int
    synonyms: bool
    answered_by: str = "file"
    seen: int | None = None


def score_sentences(
    given: PairAnswers,
    gold: PairAnswers,
    questions: Questions,
    *,
    commonest: PairAnswers | None = None,
    groups: Mapping[str, int] | None = None,
    answered_by: str = "file",
    seen: int | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    meter: TextMeter | None = None,
) -> TextScore:
    """Score `given` against `gold`; `groups` are near-duplicates, which the bootstrap draws together.

    Raises:
        MedvqaError: there are no gold answers.
    """
    if not gold:
        raise MedvqaError("there are no gold answers to score against", remedy="check that qa.jsonl holds answers")
    meter = meter or TextMeter()
    table = tabulate_text(given, gold, meter)
    bootstrap = Bootstrap(clusters_of(table.image_ids, groups), seed, resamples)
    usable = bootstrap if bootstrap.num_clusters > 1 else None
    by_class = {pair: questions[pair].classes for pair in gold if pair in questions}
    by_complexity = {
        pair: (str(questions[pair].complexity),)
        for pair in gold
        if pair in questions and questions[pair].complexity is not None
    }
    baseline = None
    if commonest is not None:
        own = tabulate_text(commonest, gold, meter)
        baseline = measured(own.by_image(), None)
    return TextScore(
        overall=measured(table.by_image(), usable),
        classes=_by_group(table, by_class, usable),
        complexities=_by_group(table, by_complexity, usable),
        commonest=baseline,
        images=len(table.image_ids),
        clusters=None if groups is None else bootstrap.num_clusters,
        resamples=resamples,
        missing=sum(pair not in given for pair in gold),
        extra=sum(pair not in gold for pair in given),
        synonyms=meter.synonyms,
        answered_by=answered_by,
        seen=seen,
    )


def _by_group(
    table: TextTable, names: Mapping[tuple[str, int], Iterable[str]], bootstrap: Bootstrap | None
) -> dict[str, TextMetrics]:
    """The metrics of the pairs of each name, in the order of the names."""
    chosen: dict[str, list[int]] = {}
    for index, pair in enumerate(table.pairs):
        for name in names.get(pair, ()):
            chosen.setdefault(name, []).append(index)
    found = {}
    for name, indices in sorted(chosen.items()):
        mask = np.zeros(len(table.pairs), dtype=bool)
        mask[indices] = True
        found[name] = measured(table.by_image(mask), bootstrap)
    return found


def measured(by_image: Numbers, bootstrap: Bootstrap | None) -> TextMetrics:
    """The metrics of sums per image, `[image, COLUMNS]`, with their intervals."""
    total = by_image.sum(axis=0)
    values = {name: each[0] for name, each in metrics_of(total[None]).items()}
    intervals: dict[str, Interval] = {}
    if bootstrap is not None:
        intervals = {name: interval_of(samples) for name, samples in resampled(by_image, bootstrap).items()}
        clusters = len(np.unique(bootstrap.clusters[by_image[:, -1] > 0]))
        intervals["exact"] = share_interval(intervals["exact"], clusters)
    known = {name: None if np.isnan(value) else rounded(value) for name, value in values.items()}
    facts = {
        kind: FactScore(precision=known[f"{kind}_precision"], recall=known[f"{kind}_recall"], gold=count)
        for kind, count in fact_counts(total).items()
    }
    return TextMetrics(
        n=int(total[COLUMNS - 1]),
        facts=facts,
        intervals={name: interval for name, interval in intervals.items() if known[name] is not None},
        **{name: known[name] for name in TEXT_METRICS},  # type: ignore[arg-type]
    )


def resampled(by_image: Numbers, bootstrap: Bootstrap) -> dict[str, Numbers]:
    """Each of `TEXT_METRICS` over the resamples, `[resample]`."""
    metrics = metrics_of(bootstrap.sums(by_image))
    return {name: metrics[name] for name in TEXT_METRICS}
