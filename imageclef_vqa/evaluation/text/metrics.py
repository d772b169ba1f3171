"""Metrics of sentences as the organisers compute them, and the facts in them.

Each pair of a given and a gold answer has a row of numbers whose sums over any pairs give every metric: BLEU is a
function of sums over the corpus, ROUGE and METEOR are means over pairs, and so is exact match. That makes the cluster
bootstrap of all of them one matrix product.

Computed by the libraries that the organisers' script reaches through `evaluate`: sacrebleu (13a tokens, no smoothing),
rouge_score (no stemming) and NLTK. All metrics are from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from imageclef_vqa.editions.facts import FACT_KINDS, facts_in
from imageclef_vqa.evaluation.metrics import Answers, Numbers, PairAnswers, ratio
from imageclef_vqa.evaluation.text.wordnet import NoWordNet, find_wordnet, has_punkt

ROUGE = ("rouge1", "rouge2", "rougeL")
TEXT_METRICS = ("bleu", *ROUGE, "meteor", "exact", "fact_precision", "fact_recall")
_ORDERS = 4  # n-grams of BLEU
_BLEU = 2 * _ORDERS + 2  # matches by order, n-grams by order, tokens given, tokens gold
_MEANS = (*ROUGE, "meteor", "exact")
_FACTS = tuple((kind, count) for kind in FACT_KINDS for count in ("right", "given", "gold"))
COLUMNS = _BLEU + len(_MEANS) + len(_FACTS) + 1  # the last one counts pairs


@dataclass(frozen=True)
class TextTable:
    """The numbers of all gold pairs, `[pair, COLUMNS]`, and the row of each pair's image in `image_ids`, `[pair]`."""

    image_ids: tuple[str, ...]
    pairs: tuple[tuple[str, int], ...]
    rows: np.ndarray
    values: Numbers

    def by_image(self, chosen: np.ndarray | None = None) -> Numbers:
        """Sums over the pairs of each image, `[image, COLUMNS]`; of the `chosen` pairs only (bool, `[pair]`)."""
        sums = np.zeros((len(self.image_ids), COLUMNS))
        values = self.values if chosen is None else np.where(chosen[:, None], self.values, 0.0)
        np.add.at(sums, self.rows, values)
        return sums


class TextMeter:
    """Measures sentences; equal pairs are measured once."""

    def __init__(self) -> None:
        from rouge_score.rouge_scorer import RougeScorer
        from rouge_score.tokenizers import DefaultTokenizer
        from sacrebleu.metrics import BLEU

        # Only counts are taken from sacrebleu's sentence scores; effective_order keeps it from warning.
        self._bleu = BLEU(smooth_method="none", effective_order=True)
        self._rouge = RougeScorer(list(ROUGE), tokenizer=DefaultTokenizer(use_stemmer=False))
        self._measured: dict[tuple[str, str], list[float]] = {}

    @cached_property
    def synonyms(self) -> bool:
        """Whether METEOR knows synonyms."""
        return find_wordnet() is not None

    def measure(self, given: str, gold: str) -> list[float]:
        """The numbers of one pair, `[COLUMNS]`; a missing answer is the empty one."""
        if (given, gold) not in self._measured:
            scores = self._rouge.score(gold, given)
            means = [scores[name].fmeasure for name in ROUGE]
            means += [self.meteor(given, gold), float(same_sentence(given, gold))]
            self._measured[given, gold] = [*self._bleu_counts(given, gold), *means, *_fact_counts(given, gold), 1.0]
        return self._measured[given, gold]

    def _bleu_counts(self, given: str, gold: str) -> list[float]:
        score = self._bleu.sentence_score(given, [gold])
        return [*score.counts, *score.totals, score.sys_len, score.ref_len]

    def meteor(self, given: str, gold: str) -> float:
        """METEOR of one pair, without synonyms if WordNet is not there."""
        from nltk.tokenize import word_tokenize
        from nltk.translate.meteor_score import single_meteor_score

        whole = not has_punkt()  # then a text is one sentence
        tokens = [word_tokenize(text, preserve_line=whole) for text in (gold, given)]
        return float(single_meteor_score(*tokens, wordnet=find_wordnet() or NoWordNet()))


def same_sentence(given: str, gold: str) -> bool:
    """Exact match; case and outer blanks are forgiven."""
    return given.strip().casefold() == gold.strip().casefold()


def sentence(answers: Answers) -> str:
    """The answer to an open question, which is one sentence; empty if there is none."""
    return answers[0] if answers else ""


def tabulate_text(given: PairAnswers, gold: PairAnswers, meter: TextMeter) -> TextTable:
    """Measure every gold pair; a pair that is not given has the empty answer, and pairs without gold are ignored."""
    row_of: dict[str, int] = {}
    rows = [row_of.setdefault(image_id, len(row_of)) for image_id, _ in gold]
    values = [meter.measure(sentence(given.get(pair, ())), sentence(answers)) for pair, answers in gold.items()]
    return TextTable(tuple(row_of), tuple(gold), np.array(rows), np.array(values).reshape(len(rows), COLUMNS))


def metrics_of(sums: Numbers) -> dict[str, Numbers]:
    """Every metric, `[resample]`, of sums `[resample, COLUMNS]`; NaN where it is not defined.

    The facts are micro averages: of all facts that are given, the share that gold names, and the other way round. They
    come for all kinds together, and as `number_precision` and so on.
    """
    means, facts = sums[:, _BLEU:-1][:, : len(_MEANS)], sums[:, _BLEU + len(_MEANS) : -1]
    metrics = {"bleu": bleu(sums[:, :_BLEU])}
    metrics |= {name: ratio(means[:, index], sums[:, -1]) for index, name in enumerate(_MEANS)}
    by_kind = facts.reshape(len(sums), len(FACT_KINDS), 3)
    for index, name in enumerate(("fact", *FACT_KINDS)):
        right, own, wanted = (by_kind[:, index - 1] if index else by_kind.sum(axis=1)).T
        metrics |= {f"{name}_precision": ratio(right, own), f"{name}_recall": ratio(right, wanted)}
    return metrics


def bleu(sums: Numbers) -> Numbers:
    """Corpus BLEU without smoothing (Papineni et al. 2002), `[resample]`, of matches, n-grams and lengths."""
    matches, ngrams = sums[:, :_ORDERS], sums[:, _ORDERS : 2 * _ORDERS]
    given, gold = sums[:, -2], sums[:, -1]
    with np.errstate(divide="ignore"):
        log_precision = np.log(ratio(matches, ngrams, undefined=0.0)).mean(axis=1)
    brevity = np.minimum(0.0, 1 - ratio(gold, given, undefined=np.inf))
    return np.exp(log_precision + brevity)


def fact_counts(sums: Numbers) -> Mapping[str, int]:
    """How many facts of each kind gold names, from sums `[COLUMNS]`."""
    facts = sums[_BLEU + len(_MEANS) : -1].reshape(len(FACT_KINDS), 3)
    return {kind: int(row[2]) for kind, row in zip(FACT_KINDS, facts, strict=True)}


def _fact_counts(given: str, gold: str) -> Sequence[float]:
    own, wanted = facts_in(given), facts_in(gold)
    counts: list[float] = []
    for kind in FACT_KINDS:
        mine, theirs = ({fact for fact in facts if fact.kind == kind} for facts in (own, wanted))
        counts += [len(mine & theirs), len(mine), len(theirs)]
    return counts
