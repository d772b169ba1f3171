"""Editions of the challenge: what each calls its questions and answers, and how it wants a run. Data, not code.

All of this package speaks the 2023 edition's language; a profile translates at the border, when a file is written or
read. Sources: the 2023 edition's data and checker; for later editions Kvasir-VQA (Gautam et al. 2024) and the
organisers' `submission_task1.py`, which collects `predictions_1.json`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from imageclef_vqa.editions.questions import NOT_RELEVANT, QUESTIONS, Question, normalised
from imageclef_vqa.editions.vocabulary import QuestionVocabulary, Vocabulary

Answers = tuple[str, ...]
_TEAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Edition:
    """One edition.

    `layout`: `"images"`, an object of images with their 18 answers, or `"predictions"`, one list of rows that name
    image and question. `run_file` is the default of `--out`. `team_zip` is how a zip is named, None
    where none is asked for. `suffixes` follow the text of a question; `renamed` holds, for each question, answers
    that the edition spells otherwise.
    """

    name: str
    title: str
    layout: Literal["images", "predictions"]
    run_file: str
    metrics: str
    team_zip: str | None = None
    lower_case: bool = False
    sorted_answers: bool = False
    suffixes: Mapping[int, str] = field(default_factory=dict)
    renamed: Mapping[int, Mapping[str, str]] = field(default_factory=dict)

    def question(self, question: Question) -> str:
        """The question as this edition asks it."""
        return question.text + self.suffixes.get(question.id, "")

    def find(self, text: str) -> Question | None:
        """The question that `text` asks in this edition, in its own words or the bank's."""
        return self._by_text.get(normalised(text))

    def spell(self, question_id: int, answers: Iterable[str]) -> Answers:
        """Answers of the 2023 edition as this edition spells them."""
        renamed = self.renamed.get(question_id, {})
        spelt = [renamed.get(answer, answer) for answer in answers]
        if self.lower_case:
            spelt = [answer.lower() for answer in spelt]
        spelt = list(dict.fromkeys(spelt))
        return tuple(sorted(spelt) if self.sorted_answers else spelt)

    def read(self, question_id: int, answers: Iterable[str]) -> Answers:
        """Answers of this edition in the spelling of the 2023 edition; what that one does not know stays as it is."""
        known = self._known[question_id]
        spelt = ((answer, answer.lower() if self.lower_case else answer) for answer in answers)
        return tuple(dict.fromkeys(known.get(key, answer) for answer, key in spelt))

    def vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """A vocabulary of the 2023 edition as this edition spells it."""
        return Vocabulary(questions=tuple(self._respelt(entry) for entry in vocabulary.questions))

    def _respelt(self, entry: QuestionVocabulary) -> QuestionVocabulary:
        sets: Counter[Answers] = Counter()
        for members, count in entry.sets:
            sets[self.spell(entry.question_id, members)] += count
        respelt = dict.fromkeys(self.spell(entry.question_id, (member,))[0] for member in entry.members)
        ranked = tuple(sorted(sets.items(), key=lambda item: -item[1]))
        return entry.model_copy(update={"members": tuple(respelt), "sets": ranked})

    def team(self, file_name: str) -> str | None:
        """The team in the name of a zip, None if it is not named as the edition asks."""
        before, _, after = (self.team_zip or "").partition("{team}")
        name = file_name.removeprefix(before).removesuffix(after)
        return name if after and before + name + after == file_name and _TEAM.fullmatch(name) else None

    @cached_property
    def _by_text(self) -> Mapping[str, Question]:
        own = {normalised(self.question(question)): question for question in QUESTIONS}
        return own | {normalised(text): q for q in QUESTIONS for text in (q.text, *q.aliases)}

    @cached_property
    def _known(self) -> Mapping[int, Mapping[str, str]]:
        known: dict[int, dict[str, str]] = {question.id: {} for question in QUESTIONS}
        for question in QUESTIONS:
            for answer in question.known:
                known[question.id].setdefault(self.spell(question.id, (answer,))[0], answer)
        return known


_ALL = "Check all that are present."
_SEPARATE = "If more than one separate with ;"
# Where 2023 says "Not relevant", or "No" to a question for a list, Kvasir-VQA says "none"; questions 1 and 2 keep it.
_NONE: dict[int, dict[str, str]] = {question.id: {NOT_RELEVANT: "none"} for question in QUESTIONS if question.id > 2}
for _id in (12, 13, 14):
    _NONE[_id]["No"] = "none"

GI_2023 = Edition(
    name="gi-2023",
    title="ImageCLEFmedical MEDVQA-GI 2023, task 1",
    layout="images",
    run_file="run.csv",
    metrics="exact sets, mean over the questions",
    team_zip="{team}_clef2023_medvqa.zip",
)
GI_2025 = Edition(
    name="gi-2025",
    title="ImageCLEFmedical MEDVQA-GI 2025 and 2026, task 1",
    layout="predictions",
    run_file="predictions_1.json",
    metrics="BLEU, ROUGE and METEOR of free text",
    lower_case=True,
    sorted_answers=True,
    suffixes={5: f" {_SEPARATE}", 6: f" {_SEPARATE}", 12: f" {_ALL}", 13: f" {_ALL}", 14: f" {_ALL}"},
    renamed=_NONE | {15: _NONE[15] | {"Lower-rigth": "lower-right"}, 16: _NONE[16] | {"< 5mm": "<5mm"}},
)
EDITIONS: Mapping[str, Edition] = {edition.name: edition for edition in (GI_2023, GI_2025)}
