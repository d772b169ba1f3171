"""What training answers look like, and sentences that stop before their end."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from imageclef_vqa.errors import counted
from imageclef_vqa.submission.run import Finding, error, shown, warning
from imageclef_vqa.submission.sentences import SentenceRow

SPIKE = 0.05  # share of rows beyond training's that makes a finding of a habit
FEWEST = 20  # rows from which habits are told
_DANGLING = {
    *("a", "an", "and", "any", "are", "as", "at", "between", "by", "color", "containing", "for", "from", "has", "have"),
    *("in", "including", "is", "located", "multiple", "no", "not", "of", "on", "or", "than", "that", "the", "there"),
    *("these", "this", "to", "with", "within"),
}
_END = re.compile(r"[.!?][\"')\]]*$")
WORDS = 4  # of a sentence, at least


@dataclass(frozen=True)
class Customs:
    """What training answers look like: `answers` by the text of their question. Empty where none are known."""

    answers: Mapping[str, Counter[str]] = field(default_factory=dict)

    @cached_property
    def all(self) -> Counter[str]:
        return sum(self.answers.values(), Counter())

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self.all)

    def continues(self, text: str) -> bool:
        """Whether a training answer begins with `text` and goes on with another word."""
        at = bisect_left(self._sorted, text + " ")
        return at < len(self._sorted) and self._sorted[at].startswith(text + " ")

    @cached_property
    def _words(self) -> list[str]:
        return sorted({word.strip(".,;:") for answer in self.all for word in answer.split()})

    def cuts(self, word: str) -> bool:
        """Whether `word` is none of training's, but the beginning of one: `loca`, `upp`."""
        at = bisect_left(self._words, word)
        near = self._words[at : at + 1]
        return word.isalpha() and bool(near) and near[0] != word and near[0].startswith(word)

    @cached_property
    def unended(self) -> float:
        """The share of training answers of some words that end without a full stop."""
        long = {answer: count for answer, count in self.all.items() if len(answer.split()) >= WORDS}
        total = sum(long.values())
        return sum(count for answer, count in long.items() if _is_unended(answer)) / total if total else 0.0

    def share(self, of: re.Pattern[str] | None = None) -> float:
        """The share of training answers with a property; 0 where none are known."""
        total = self.all.total()
        matching = sum(count for answer, count in self.all.items() if of is not None and of.search(answer))
        return matching / total if total else 0.0


def located(row: SentenceRow) -> str:
    """Where an answer stands, and the answer."""
    return f"{row.where} ({row.image_id[:60]}): {shown((row.answer,))}"


def check_truncation(rows: Sequence[SentenceRow], customs: Customs) -> Iterator[Finding]:
    """Sentences that stop before their end: inside a word, at one that nothing ends with, or where training goes on."""
    cut, early, unended = [], [], []
    for row in rows:
        text = row.answer.strip()
        words = text.split()
        if not words or text in customs.all:
            continue
        if text[-1] in ",-;:" or words[-1] in _DANGLING or customs.cuts(words[-1]):
            cut.append(row)
        elif len(words) >= WORDS and customs.continues(text):
            early.append(row)
        elif _is_unended(text):
            unended.append(row)
    long = sum(len(row.answer.split()) >= WORDS for row in rows)
    if customs.all and long >= FEWEST and len(unended) + len(early) > (customs.unended + SPIKE) * long:
        cut += [*early, *unended]
        early = []
    remedy = "let the model generate more tokens"
    if cut:
        message = f"{counted(len(cut), 'answer is', 'answers are')} cut short"
        yield error("truncated", [located(row) for row in cut], message, remedy)
    if early:
        message = f"{counted(len(early), 'answer stops', 'answers stop')} where training answers go on"
        yield warning("truncated", [located(row) for row in early], message, remedy)


def _is_unended(answer: str) -> bool:
    return len(answer.split()) >= WORDS and not _END.search(answer.strip())
