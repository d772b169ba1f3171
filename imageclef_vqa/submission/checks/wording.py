"""Answers as strings: not empty, safe to write, and spelt as in the training labels."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import NamedTuple

from imageclef_vqa.editions import QUESTIONS, QuestionVocabulary
from imageclef_vqa.errors import counted
from imageclef_vqa.submission.checks.coverage import odd_characters
from imageclef_vqa.submission.run import (
    EXAMPLES,
    Answers,
    Finding,
    RunAnswers,
    error,
    finding,
    location,
    shown,
)

# What a spreadsheet runs as a formula (OWASP, "CSV injection"), also in full width or after invisible characters.
_FORMULA = re.compile(r"[\t\r\n]|[\s\u00ad\u200b-\u200f\u2060\ufeff]*[=+@\-\uff0b\uff0d\uff1d\uff20]")
# CSV readers stop at the first and change the second; the others cannot be written as UTF-8.
_UNWRITABLE = re.compile("[\0\r\ud800-\udfff]")
_NUMERAL = re.compile(r"\d|[12]\d", re.ASCII)  # labels go up to 16
_TOKEN = re.compile(r"<\|?/?\w+\|?>|\[(?:PAD|CLS|SEP|UNK|MASK)\]|▁")  # of T5, GLM and BERT
_MISSING = {"nan", "null", "none", "n/a", "na", "undefined"}
_JOINED = re.compile(r"\s*(?:;|,|\||/|\band\b|&)\s*")
_EXPLAINED = 100  # different unknown strings of a question; if there are more, they are not spelling mistakes


class _StringRule(NamedTuple):
    check: str
    breaks: Callable[[Answers], object]
    one: str
    many: str
    remedy: str


_STRING_RULES = (
    _StringRule(
        "empty",
        lambda answers: not answers or not all(answer.strip() for answer in answers),
        "answer is empty",
        "answers are empty",
        "answer each with one string or more",
    ),
    _StringRule(
        "repeated",
        lambda answers: len({answer.strip().casefold() for answer in answers}) < len(answers),
        "answer names a member twice",
        "answers name a member twice",
        "an answer is a set: name each member once",
    ),
    _StringRule(
        "formula",
        lambda answers: any(_FORMULA.match(answer) for answer in answers),
        "answer begins like a spreadsheet's formula",
        "answers begin like a spreadsheet's formula",
        "no answer of the task begins with = + - @",
    ),
    _StringRule(
        "encoding",
        lambda answers: _UNWRITABLE.search("".join(answers)),
        "answer holds a NUL, a carriage return or half a character",
        "answers hold a NUL, a carriage return or half a character",
        "answers are Unicode text, written as UTF-8",
    ),
)


def check_strings(run: RunAnswers) -> Iterator[Finding]:
    """Empty answers, repeated members, formulas, and characters that a file cannot hold."""
    for rule in _STRING_RULES:
        breaks = {answers for answers in set(run.answers.values()) if rule.breaks(answers)}
        if found := [location(*pair, answers) for pair, answers in run.answers.items() if answers in breaks]:
            yield error(rule.check, found, counted(len(found), rule.one, rule.many), rule.remedy)


def check_case(run: RunAnswers) -> tuple[RunAnswers, list[Finding]]:
    """One finding if at least half of the strings differ from the labels in case only, and the run with them mended.

    Other checks would otherwise report the same mistake for every question.
    """
    spelling = {
        question_id: {_folded(member): member for member in run.vocabulary[question_id].members}
        for question_id in run.by_question
    }
    mended, wrong = {}, []
    for (image_id, question_id), answers in run.answers.items():
        known = {*spelling[question_id].values(), *run.spellings.get(question_id, ())}
        meant = tuple(each if each in known else spelling[question_id].get(_folded(each), each) for each in answers)
        mended[image_id, question_id] = meant
        if meant != answers:
            wrong.append(f"{location(image_id, question_id, answers)} for {shown(meant)}")
    if 2 * len(wrong) < len(mended) or not wrong:
        return run, []
    message = f"{len(wrong):,} of {len(mended):,} answers differ from the training labels in case or white space"
    return replace(run, answers=mended), [error("vocabulary", wrong, message, "write answers as the labels do")]


class _Unknown(NamedTuple):
    """A string that the training labels do not hold: what kind of mistake it is, and a remark."""

    kind: str
    remark: str = ""


# kind → message, remedy
_KINDS = {
    "rare": ("known of the competition, but not of these labels", "check whether it is intended"),
    "characters": ("written with characters that the labels do not use", "write plain text (NFC), spelt as the labels"),
    "truncated": ("cut short", "allow the model more tokens; `medvqa predict` always writes whole answers"),
    "joined": ("several in one string", "write them as a list of strings, one for each"),
}
_CHECKS = ("characters", "truncated", "joined")  # all other kinds are of the check "vocabulary"
_UNMATCHED = "a string never seen in training cannot match; write it as the labels do"


def check_vocabulary(run: RunAnswers) -> Iterator[Finding]:
    """Strings that the training labels do not hold: one finding for each kind of mistake, with the likely meaning."""
    questions: dict[str, list[int]] = {}  # answer → questions that training answers with it
    for entry in run.vocabulary.questions:
        for member in entry.members:
            questions.setdefault(member, []).append(entry.question_id)
    for question_id, given in run.by_question.items():
        entry = run.vocabulary[question_id]
        known = {*entry.members, *run.spellings.get(question_id, ())}
        unknown: Counter[str] = Counter()
        first: dict[str, str] = {}  # unknown string → the first image
        for image_id, answers in given:
            for answer in answers:
                if answer not in known and answer.strip():
                    unknown[answer] += 1
                    first.setdefault(answer, image_id[:80])
        bank = {_folded(member) for member in run.bank[question_id].members}
        kinds: dict[str, list[tuple[str, str]]] = {}
        for rank, (answer, _) in enumerate(unknown.most_common()):
            kind, remark = _explain(answer, entry, bank, questions) if rank < _EXPLAINED else _Unknown("vocabulary")
            kinds.setdefault(kind, []).append((answer, remark))
        for kind, found in kinds.items():
            count = sum(unknown[answer] for answer, _ in found)
            lines = [f"{first[answer]}: {answer[:60]!r}{remark}" for answer, remark in found[:EXAMPLES]]
            yield _unknown_finding(kind, entry, count, lines)


def _unknown_finding(kind: str, entry: QuestionVocabulary, count: int, lines: list[str]) -> Finding:
    holders = "the training labels hold" if entry.trained else "are known of the competition"
    message, remedy = _KINDS.get(kind, (f"none that {holders}", _UNMATCHED))
    # A new number may be right, and few labels lack rare answers. The bank has one of several spellings.
    mild = kind in ("numeral", "rare") or (kind == "spelling" and not entry.trained)
    return finding(
        "warning" if mild else "error",
        kind if kind in _CHECKS else "vocabulary",
        lines,
        f"question {entry.question_id}: {counted(count, 'answer is', 'answers are')} {message}",
        remedy,
        count=count,
    )


def _explain(
    answer: str, entry: QuestionVocabulary, bank: Container[str], questions: Mapping[str, list[int]]
) -> _Unknown:
    spelling = {_folded(member): member for member in entry.members}
    plain = _folded(answer)
    if odd := odd_characters(answer):
        meant = f", {spelling[plain]!r} in training" if plain in spelling else ""
        return _Unknown("characters", f" holds {', '.join(odd[:3])}{meant}")
    if plain in spelling:
        return _Unknown("spelling", f", spelt {spelling[plain]!r} in training")
    if plain in bank:
        return _Unknown("rare")
    parts = [part for part in (part.strip("[]'\" ") for part in _JOINED.split(answer)) if part]
    if len(parts) > 1 and all(_folded(part) in spelling for part in parts):
        return _Unknown("joined", f" for {', '.join(repr(spelling[_folded(part)]) for part in parts)}")
    if len(plain) > 1 and (whole := [member for key, member in spelling.items() if key.startswith(plain)]):
        return _Unknown("truncated", f", the beginning of {whole[0]!r}")
    if QUESTIONS[entry.question_id].asks == "count" and _NUMERAL.fullmatch(answer):
        return _Unknown("numeral")
    if near := get_close_matches(plain, spelling, 1, 0.85):
        return _Unknown("vocabulary", f", nearly {spelling[near[0]]!r}")
    if elsewhere := questions.get(answer):
        return _Unknown("vocabulary", f", which answers question {elsewhere[0]}")
    return _Unknown("vocabulary", _origin(answer))


def _origin(answer: str) -> str:
    """A remark on where a string that is not an answer may come from."""
    if answer.strip().casefold() in _MISSING:
        return ", as programs write what is missing"
    if (meant := html.unescape(answer)) != answer:
        return f", as HTML writes {meant[:40]!r}"
    if token := _TOKEN.search(answer):
        return f", with the model's own {token[0]!r}"
    return ""


def _folded(text: str) -> str:
    """`text` without differences of case and white space."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())
