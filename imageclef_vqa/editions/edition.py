"""Editions of the challenge, as data: questions, spelling, and how a run is written.

The package uses the spelling of the 2023 edition throughout; an edition translates when a file is read or written.
Sources: the data and the checker of the 2023 edition; for later editions Kvasir-VQA (Gautam et al. 2024) and the
organisers' `submission_task1.py`, which collects `predictions_1.json`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

from imageclef_vqa.editions.lookup import normalised
from imageclef_vqa.editions.questions import NOT_RELEVANT, QUESTIONS, Asks, Question
from imageclef_vqa.editions.vocabulary import QuestionVocabulary, Vocabulary, learn_vocabulary
from imageclef_vqa.errors import UsageError

Answers = tuple[str, ...]
RunFormat = Literal["csv", "json", "zip", "predictions", "sentences"]
_TEAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Sample(NamedTuple):
    """The first `rows` of a data set after `datasets`' shuffle with `seed`."""

    rows: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Edition:
    """One edition of the challenge.

    Attributes:
        name: value of `--edition`.
        title: for people.
        questions: the bank; every image answers each of them. Empty for an edition with open questions, which a data
            set brings along and whose answers are sentences.
        run_formats: suffix of a run file → format. "csv", "json" and "zip" hold images with their answers to all
            questions; "predictions" is one list of rows that name image and question, and "sentences" the same list
            for open questions.
        run_file: the default of `--out`.
        team_zip: name of the zip that a team submits; None if the edition takes none.
        has_checker: whether the organisers published a checker for runs.
        lower_case, sorted_answers: how answers are spelt.
        suffixes: what the edition appends to the text of a question, by what the question asks.
        renamed: question id → answer of 2023 → answer of this edition.
        sample: the rows of the public test set that the organisers' script answers.
        private_set: regular expressions of the lines that the organisers replace to put in the private set; a script
            without one of them is refused. None for editions that take no script with open questions.
    """

    name: str
    title: str
    questions: tuple[Question, ...] = QUESTIONS
    run_formats: Mapping[str, RunFormat]
    run_file: str
    team_zip: str | None = None
    has_checker: bool = False
    lower_case: bool = False
    sorted_answers: bool = False
    suffixes: Mapping[Asks, str] = field(default_factory=dict)
    renamed: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    sample: Sample | None = None
    private_set: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether the questions come with the data, and answers are sentences."""
        return not self.questions

    def question(self, question: Question) -> str:
        """The text of a question in this edition."""
        return question.text + self.suffixes.get(question.asks, "")

    def find(self, text: str) -> Question | None:
        """The question with this text, in the spelling of this edition or of 2023."""
        return self._by_text.get(normalised(text))

    def spell(self, question_id: int, answers: Iterable[str]) -> Answers:
        """Answers in the spelling of 2023, spelt as in this edition."""
        renamed = self.renamed.get(question_id, {})
        spelt = [renamed.get(answer, answer) for answer in answers]
        if self.lower_case:
            spelt = [answer.lower() for answer in spelt]
        spelt = list(dict.fromkeys(spelt))
        return tuple(sorted(spelt) if self.sorted_answers else spelt)

    def read(self, question_id: int, answers: Iterable[str]) -> Answers:
        """Answers of this edition in the spelling of 2023; answers that 2023 does not know stay as they are."""
        known = self._known[question_id]
        spelt = ((answer, answer.lower() if self.lower_case else answer) for answer in answers)
        return tuple(dict.fromkeys(known.get(key, answer) for answer, key in spelt))

    def vocabulary(self, vocabulary: Vocabulary) -> Vocabulary:
        """A vocabulary in the spelling of 2023, spelt as in this edition."""
        return Vocabulary(questions=tuple(self._respelt(entry) for entry in vocabulary.questions))

    @cached_property
    def bank(self) -> Vocabulary:
        """The known answers to each question, as if no label were known, spelt as in this edition."""
        return self.vocabulary(learn_vocabulary([]))

    def _respelt(self, entry: QuestionVocabulary) -> QuestionVocabulary:
        sets: Counter[Answers] = Counter()
        for members, count in entry.sets:
            sets[self.spell(entry.question_id, members)] += count
        respelt = dict.fromkeys(self.spell(entry.question_id, (member,))[0] for member in entry.members)
        ranked = tuple(sorted(sets.items(), key=lambda item: -item[1]))
        return entry.model_copy(update={"members": tuple(respelt), "sets": ranked})

    def team(self, file_name: str) -> str | None:
        """The team in the name of a zip; None if the name does not follow `team_zip`."""
        before, _, after = (self.team_zip or "").partition("{team}")
        name = file_name.removeprefix(before).removesuffix(after)
        return name if after and before + name + after == file_name and _TEAM.fullmatch(name) else None

    @cached_property
    def _by_text(self) -> Mapping[str, Question]:
        own = {normalised(self.question(question)): question for question in self.questions}
        return own | {normalised(text): question for question in self.questions for text in question.spellings}

    @cached_property
    def _known(self) -> Mapping[int, Mapping[str, str]]:
        """Question id → spelling of this edition → spelling of 2023, for the known answers."""
        known: dict[int, dict[str, str]] = {question.id: {} for question in self.questions}
        for question in self.questions:
            for answer in question.known:
                known[question.id].setdefault(self.spell(question.id, (answer,))[0], answer)
        return known


def _renamed_in_kvasir(question: Question) -> dict[str, str]:
    """Kvasir-VQA says "none" for "Not relevant", but not for yes or no, and for "No" to a question for a list."""
    if question.asks == "yes_no":
        return {}
    renamed = {NOT_RELEVANT: "none", "Lower-rigth": "lower-right", "< 5mm": "<5mm"}
    return renamed | {"No": "none"} if question.asks == "presence" else renamed


_SEPARATE = " If more than one separate with ;"
_ALL = " Check all that are present."

GI_2023 = Edition(
    name="gi-2023",
    title="ImageCLEFmedical MEDVQA-GI 2023, task 1",
    run_formats={".csv": "csv", ".json": "json", ".zip": "zip"},
    run_file="run.csv",
    team_zip="{team}_clef2023_medvqa.zip",
    has_checker=True,
)
GI_2025 = Edition(
    name="gi-2025",
    title="ImageCLEFmedical MEDVQA-GI 2025, task 1",
    run_formats={".json": "predictions"},
    run_file="predictions_1.json",
    lower_case=True,
    sorted_answers=True,
    suffixes={"colour": _SEPARATE, "presence": _ALL},
    renamed={question.id: _renamed_in_kvasir(question) for question in QUESTIONS},
)
MEDICO_2026 = Edition(
    name="medico-2026",
    title="MediaEval Medico 2026, task 1: open questions of Kvasir-VQA-x1",
    questions=(),
    run_formats={".json": "sentences"},
    run_file="predictions_1.json",
    sample=Sample(rows=1500, seed=42),
    private_set=(
        r"ds\s*=\s*load_dataset\(\s*[\"']SimulaMet/Kvasir-VQA-x1[\"']\)\[\"test\"\]",
        r"ds\.shuffle\s*\(\s*seed\s*=\s*42\s*\)",
        r"ds_shuffled\.select\s*\(\s*range\s*\(\s*1500\s*\)\s*\)",
    ),
)
MEDICO_2025 = replace(MEDICO_2026, name="medico-2025", title=MEDICO_2026.title.replace("2026", "2025"))
GI_2026 = replace(
    MEDICO_2026,
    name="gi-2026",
    title="ImageCLEFmedical MEDVQA-GI 2026, task 1, as its README says",
    private_set=(),  # its template asks the closed questions of Kvasir-VQA
)
EDITIONS: Mapping[str, Edition] = {
    edition.name: edition for edition in (GI_2023, GI_2025, GI_2026, MEDICO_2025, MEDICO_2026)
}


def find_edition(name: str) -> Edition:
    """The edition called `name`.

    Raises:
        UsageError: there is none; the message names the editions that exist.
    """
    if name not in EDITIONS:
        raise UsageError(f"there is no edition {name!r}; the editions are {', '.join(EDITIONS)}")
    return EDITIONS[name]
