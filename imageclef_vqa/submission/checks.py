"""What must hold before a run is written, over the whole of it: every finding at once, each with its remedy.

An error would get the run rejected or scored other than meant; a warning is what a competitor should know. The
organisers' own checker looks at the first image alone and never at an answer, so nothing is left to it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from imageclef_vqa.submission.records import Answers, PairAnswers, Submission, arrange
from imageclef_vqa.task import QUESTIONS, Vocabulary

_EXAMPLES = 3
_PICTURES = {".jpg", ".jpeg", ".png"}
# What a spreadsheet reads as a formula (OWASP, "CSV injection"). No answer of the task begins so: `< 5mm` is harmless.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
# CSV readers stop at the first, change the second, and UTF-8 has no bytes for a surrogate.
_UNWRITABLE = re.compile("[\0\r\ud800-\udfff]")
_ARITY_RATIO = 1.5
_CONSTANT_FROM = 10  # images; fewer can share an answer by chance
_USUAL = 0.95  # of the training labels: one answer throughout is then no surprise


Severity = Literal["error", "warning"]


class Finding(BaseModel):
    """One thing that is wrong, or worth knowing, in `count` places, the first few of them as `examples`."""

    model_config = ConfigDict(frozen=True)

    severity: Severity
    check: str
    count: int
    message: str
    examples: tuple[str, ...] = ()
    remedy: str

    def __str__(self) -> str:
        shown = f" ({'; '.join(self.examples)}{'; …' if self.count > len(self.examples) else ''})" * bool(self.examples)
        return f"{self.message}{shown}: {self.remedy}"


@dataclass(frozen=True)
class Run:
    """Answers to be checked, the ids that must be answered, in order, and what training allows."""

    answers: PairAnswers
    image_ids: Sequence[str]
    vocabulary: Vocabulary
    by_question: dict[int, list[tuple[str, Answers]]] = field(init=False)

    def __post_init__(self) -> None:
        by_question: dict[int, list[tuple[str, Answers]]] = {question.id: [] for question in QUESTIONS}
        for (image_id, question_id), answers in self.answers.items():
            by_question[question_id].append((image_id, answers))
        object.__setattr__(self, "by_question", by_question)


def check_run(run: Run) -> list[Finding]:
    """All findings, errors first. Where no check finds an error, the records' own contract is held to as well."""
    findings = [
        finding
        for check in (_ids, _coverage, _strings, _vocabulary, _arity, _constant, _untrained)
        for finding in check(run)
    ]
    if not any(finding.severity == "error" for finding in findings):
        findings += _contract(run)
    return sorted(findings, key=lambda finding: finding.severity)


def _finding(
    severity: Literal["error", "warning"], check: str, places: Sequence[str], message: str, remedy: str
) -> Finding:
    examples = tuple(place[:120] for place in places[:_EXAMPLES])
    return Finding(severity=severity, check=check, count=len(places), message=message, examples=examples, remedy=remedy)


def _place(image_id: str, question_id: int, answer: str) -> str:
    return f"{image_id}, question {question_id}: {answer[:60]!r}"


def _ids(run: Run) -> Iterator[Finding]:
    listed = set(run.image_ids)
    unknown = [
        image_id for image_id in dict.fromkeys(image_id for image_id, _ in run.answers) if image_id not in listed
    ]
    extended = [image_id for image_id in unknown if PurePath(image_id).suffix.lower() in _PICTURES]
    strange = [image_id for image_id in unknown if PurePath(image_id).suffix.lower() not in _PICTURES]
    if extended:
        message = f"{len(extended)} image ids end in a file's extension"
        yield _finding("error", "extension", extended, message, "ids are file names without .jpg")
    if strange:
        message = f"{len(strange)} image ids are not on the test list"
        yield _finding("error", "unknown-image", strange, message, "leave them out")
    if repeated := [image_id for image_id, count in Counter(run.image_ids).items() if count > 1]:
        message = f"{len(repeated)} ids stand on the test list more than once"
        yield _finding("error", "repeated-id", repeated, message, "mend the id list")


def _coverage(run: Run) -> Iterator[Finding]:
    missing = [image_id for image_id in run.image_ids if not any((image_id, q.id) in run.answers for q in QUESTIONS)]
    absent = set(missing)
    gaps = [
        f"{image_id}, question {question.id}"
        for image_id in run.image_ids
        if image_id not in absent
        for question in QUESTIONS
        if (image_id, question.id) not in run.answers
    ]
    remedy = "`medvqa predict` answers every image and question"
    if missing:
        message = f"{len(missing)} of {len(run.image_ids)} test images are not answered"
        yield _finding("error", "missing-image", missing, message, remedy)
    if gaps:
        yield _finding("error", "missing-answer", gaps, f"{len(gaps)} answers are missing", remedy)


def _strings(run: Run) -> Iterator[Finding]:
    empty, repeated, formulas, unwritable = [], [], [], []
    for (image_id, question_id), answers in run.answers.items():
        text = "".join(answers)
        if not answers or not all(answer.strip() for answer in answers):
            empty.append(f"{image_id}, question {question_id}")
        if len(set(answers)) < len(answers):
            repeated.append(_place(image_id, question_id, "; ".join(answers)))
        if any(answer.startswith(_FORMULA) for answer in answers):
            formulas.append(_place(image_id, question_id, "; ".join(answers)))
        if _UNWRITABLE.search(text):
            unwritable.append(_place(image_id, question_id, text))
    if empty:
        yield _finding(
            "error", "empty", empty, f"{len(empty)} answers are empty", "answer each with one string or more"
        )
    if repeated:
        message = f"{len(repeated)} answers name a member twice"
        yield _finding("error", "repeated", repeated, message, "an answer is a set: name each member once")
    if formulas:
        message = f"{len(formulas)} answers begin like a spreadsheet's formula"
        yield _finding("error", "formula", formulas, message, "no answer of the task begins with = + - @")
    if unwritable:
        message = f"{len(unwritable)} answers hold a NUL, a carriage return or half a character"
        yield _finding("error", "encoding", unwritable, message, "answers are Unicode text, written as UTF-8")


def _vocabulary(run: Run) -> Iterator[Finding]:
    for question_id, pairs in run.by_question.items():
        members = run.vocabulary[question_id].members
        strangers = Counter(answer for _, answers in pairs for answer in answers)
        for member in members:
            strangers.pop(member, None)
        if not strangers:
            continue
        spelling = {member.casefold().strip(): member for member in members}
        examples = [
            f"{answer[:60]!r}, spelt {spelling[folded]!r} in training" if folded in spelling else repr(answer[:60])
            for answer, _ in strangers.most_common(_EXAMPLES)
            for folded in [answer.casefold().strip()]
        ]
        count = sum(strangers.values())
        yield Finding(
            severity="error",
            check="vocabulary",
            count=count,
            message=f"question {question_id}: {count} answers are none that the training labels hold",
            examples=tuple(examples),
            remedy="a string never seen in training cannot match; write it as the labels do",
        )


def _arity(run: Run) -> Iterator[Finding]:
    for question_id, pairs in run.by_question.items():
        sets = run.vocabulary[question_id].sets
        if not pairs or not sets:
            continue
        mine = sum(len(answers) for _, answers in pairs) / len(pairs)
        training = sum(len(members) * count for members, count in sets) / sum(count for _, count in sets)
        if max(mine, training) >= _ARITY_RATIO * min(mine, training):
            message = (
                f"question {question_id}: you answer {mine:.1f} values on average, the training labels {training:.1f}"
            )
            remedy = "answers are scored as whole sets; a policy of one answer cost the paper's entry 8 points"
            yield _finding("warning", "arity", [str(image_id) for image_id, _ in pairs], message, remedy)


def _constant(run: Run) -> Iterator[Finding]:
    for question_id, pairs in run.by_question.items():
        entry = run.vocabulary[question_id]
        given = {frozenset(answers) for _, answers in pairs}
        total = sum(count for _, count in entry.sets)
        if len(given) != 1 or len(pairs) < _CONSTANT_FROM or not total or entry.sets[0][1] >= _USUAL * total:
            continue
        answer = "; ".join(pairs[0][1])
        share = next((count for members, count in entry.sets if frozenset(members) in given), 0) / total
        message = f"question {question_id}: all {len(pairs)} answers are {answer[:60]!r}, {share:.0%} in training"
        remedy = "look whether the model learnt this question"
        yield _finding("warning", "constant", [image_id for image_id, _ in pairs], message, remedy)


def _untrained(run: Run) -> Iterator[Finding]:
    if questions := [f"{question_id}: {QUESTIONS[question_id].text}" for question_id in run.vocabulary.untrained]:
        message = f"training never answers {len(questions)} of the {len(QUESTIONS)} questions"
        remedy = "what is given is a guess from the values known of the competition"
        yield _finding("warning", "untrained", questions, message, remedy)


def _contract(run: Run) -> Iterator[Finding]:
    try:
        Submission.model_validate(arrange(run.answers, run.image_ids))
    except ValidationError as error:
        places = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        yield _finding("error", "record", places, f"{len(places)} records break the format", "mend them by hand")
