"""Which of the sentences that a model finds is the answer, and how good it is expected to be. Free of Paddle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from imageclef_vqa.evaluation.text.metrics import TextMeter, bleu, metrics_of
from imageclef_vqa.inference.calibration import Rule
from imageclef_vqa.inference.ranked import Ranked

RULES: tuple[Rule, ...] = ("likeliest", "expected")
# What a sentence is expected to score: these metrics of the organisers, and exact match, which separates sentences that
# share most of their words.
_GAIN = {"bleu": 1.0, "rougeL": 1.0, "meteor": 1.0, "exact": 4.0}
_MOST = 16  # sentences that are compared
_LEAST = 0.01  # of the likeliest sentence's probability: less likely ones are neither chosen nor compared with


class Chosen(NamedTuple):
    """A sentence with its probability and its METEOR as the model's own probabilities expect it."""

    text: str
    probability: float
    meteor: float


class Chooser:
    """Chooses a sentence by `rule`; what pairs of sentences score is measured once."""

    def __init__(self, meter: TextMeter | None = None) -> None:
        self._meter = meter or TextMeter()
        self._scores: dict[tuple[str, str], tuple[float, float]] = {}

    def choose(self, ranked: Ranked, rule: Rule) -> Chosen:
        """The likeliest sentence, or the one with the highest expected score among the likely ones."""
        likely = [(text, p) for (text,), p in ranked[:_MOST] if p >= _LEAST * ranked[0][1]]
        total = sum(p for _, p in likely)
        candidates = likely if rule == "expected" else likely[:1]

        def expected(text: str) -> tuple[float, float]:
            scores = np.array([self._score(text, other) for other, _ in likely])
            weights = np.array([p for _, p in likely]) / total if total else np.full(len(likely), 1 / len(likely))
            gain, meteor = weights @ scores
            return float(gain), float(meteor)

        found = [(*expected(text), text, p) for text, p in candidates]
        _, meteor, text, probability = max(found, key=lambda each: each[0])
        return Chosen(text, probability, min(1.0, meteor))

    def _score(self, text: str, gold: str) -> tuple[float, float]:
        """The gain of one sentence where another is right, and its METEOR."""
        if (text, gold) not in self._scores:
            metrics = measured(self._meter, [(text, gold)])
            metrics["bleu"] = _smoothed_bleu(self._meter.measure(text, gold))
            gain = sum(weight * metrics[name] for name, weight in _GAIN.items())
            self._scores[text, gold] = gain, metrics["meteor"]
        return self._scores[text, gold]


def _smoothed_bleu(numbers: Sequence[float]) -> float:
    """BLEU of one sentence: matches and n-grams of orders 2 to 4 are counted once more (Lin and Och 2004)."""
    more = np.array([0.0, 1, 1, 1, 0, 1, 1, 1, 0, 0])
    return float(bleu((np.array(numbers[: len(more)]) + more)[None])[0])


def measured(meter: TextMeter, pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """The organisers' metrics and exact match over pairs of given and gold sentences."""
    sums = np.sum([meter.measure(given, gold) for given, gold in pairs], axis=0)
    return {name: float(values[0]) for name, values in metrics_of(sums[None]).items()}
