"""Answers as strings: from the vocabulary of training, spelt as there, whole, and safe to write."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from difflib import get_close_matches

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.submission.coverage import odd_characters
from imageclef_vqa.submission.findings import EXAMPLES, Finding, finding, number, place, printable
from imageclef_vqa.submission.records import Answers
from imageclef_vqa.submission.run import Run

# What a spreadsheet reads as a formula (OWASP, "CSV injection"), in full width too, or behind what nobody sees.
# No answer of the task begins so: `< 5mm` is harmless.
_FORMULA = re.compile(r"[\t\r\n]|[\s\u00ad\u200b-\u200f\u2060\ufeff]*[=+@\-\uff0b\uff0d\uff1d\uff20]")
# CSV readers stop at the first, change the second, and UTF-8 has no bytes for a surrogate.
_UNWRITABLE = re.compile("[\0\r\ud800-\udfff]")
_LOOKED_AT = 100  # different strangers of a question: more are no slips of spelling
_NUMERAL = re.compile(r"\d|[12]\d", re.ASCII)  # labels go up to 16
_TOKEN = re.compile(r"<\|?/?\w+\|?>|\[(?:PAD|CLS|SEP|UNK|MASK)\]|▁")  # of T5, GLM and BERT
_NOTHING = {"nan", "null", "none", "n/a", "na", "undefined"}
_JOINED = re.compile(r"\s*(?:;|,|\||/|\band\b|&)\s*")


def check_strings(run: Run) -> Iterator[Finding]:
    """Empty answers, repeated members, formulas, and what a file cannot hold."""
    empty, repeated, formulas, unwritable = [], [], [], []
    for (image_id, question_id), answers in run.answers.items():
        text = "".join(answers)
        if not answers or not all(answer.strip() for answer in answers):
            empty.append(f"{image_id}, question {question_id}")
        if len(answers) > 1 and len({answer.strip().casefold() for answer in answers}) < len(answers):
            repeated.append(place(image_id, question_id, "; ".join(answers)))
        if answers and any(_FORMULA.match(answer) for answer in answers):
            formulas.append(place(image_id, question_id, "; ".join(answers)))
        if _UNWRITABLE.search(text):
            unwritable.append(place(image_id, question_id, text))
    if empty:
        message = f"{number(len(empty), 'answer is', 'answers are')} empty"
        yield finding("error", "empty", empty, message, "answer each with one string or more")
    if repeated:
        message = f"{number(len(repeated), 'answer names', 'answers name')} a member twice"
        yield finding("error", "repeated", repeated, message, "an answer is a set: name each member once")
    if formulas:
        message = f"{number(len(formulas), 'answer begins', 'answers begin')} like a spreadsheet's formula"
        yield finding("error", "formula", formulas, message, "no answer of the task begins with = + - @")
    if unwritable:
        message = (
            f"{number(len(unwritable), 'answer holds', 'answers hold')} a NUL, a carriage return or half a character"
        )
        yield finding("error", "encoding", unwritable, message, "answers are Unicode text, written as UTF-8")


def check_vocabulary(run: Run) -> Iterator[Finding]:
    """Strings that training never answers: each kind of them a finding, with what was probably meant."""
    homes: dict[str, list[int]] = {}
    for entry in run.vocabulary.questions:
        for member in entry.members:
            homes.setdefault(member, []).append(entry.question_id)
    for question_id, pairs in run.by_question.items():
        entry = run.vocabulary[question_id]
        strangers = Counter(answer for _, answers in pairs for answer in answers if answer.strip())
        for member in {*entry.members, *run.spellings.get(question_id, ())}:
            strangers.pop(member, None)
        where = _first_places(strangers, pairs) if strangers else {}
        kinds: dict[str, list[tuple[str, str]]] = {}
        folded = {_folded(member): member for member in entry.members}
        bank = {_folded(member) for member in run.bank[question_id].members}
        for rank, (stranger, _) in enumerate(strangers.most_common()):
            kind, meant = "vocabulary", ""
            if rank < _LOOKED_AT:
                kind, meant = _kind(stranger, folded, bank, question_id, homes)
            kinds.setdefault(kind, []).append((stranger, meant))
        for kind, found in kinds.items():
            count = sum(strangers[stranger] for stranger, _ in found)
            answers = number(count, "answer is", "answers are")
            known = "the training labels hold" if entry.trained else "are known of the competition"
            message, remedy = _SAID.get(kind, (f"none that {known}", _UNMATCHED))
            # A number may be new, a rare answer absent from few labels; the bank knows one spelling of several.
            mild = kind in ("numeral", "rare") or (kind == "spelling" and not entry.trained)
            yield Finding(
                severity="warning" if mild else "error",
                check=kind if kind in ("characters", "truncated", "joined") else "vocabulary",
                count=count,
                message=f"question {question_id}: {answers} {message}",
                examples=tuple(f"{where[stranger]}: {stranger[:60]!r}{meant}" for stranger, meant in found[:EXAMPLES]),
                remedy=remedy,
            )


def _first_places(strangers: Container[str], pairs: Sequence[tuple[str, Answers]]) -> dict[str, str]:
    """The image that answers with each of `strangers` first."""
    places: dict[str, str] = {}
    for image_id, answers in pairs:
        for answer in answers:
            if answer in strangers:
                places.setdefault(answer, printable(image_id[:80]))
    return places


_UNMATCHED = "a string never seen in training cannot match; write it as the labels do"
_SAID = {
    "rare": ("known of the competition, but not of these labels", "look whether it is meant"),
    "characters": ("written with characters that the labels do not use", "write plain text (NFC), spelt as the labels"),
    "truncated": ("cut short", "let the model say more tokens; `medvqa predict` always says whole answers"),
    "joined": ("several in one string", "write them as a list of strings, one for each"),
}


def _kind(
    stranger: str, folded: Mapping[str, str], bank: Container[str], question_id: int, homes: Mapping[str, list[int]]
) -> tuple[str, str]:
    """What kind of stranger it is, and a remark on what was meant."""
    plain = _folded(stranger)
    if odd := odd_characters(stranger):
        meant = f", {folded[plain]!r} in training" if plain in folded else ""
        return "characters", f" holds {', '.join(odd[:3])}{meant}"
    if plain in folded:
        return "spelling", f", spelt {folded[plain]!r} in training"
    if plain in bank:
        return "rare", ""
    parts = [part for part in (part.strip("[]'\" ") for part in _JOINED.split(stranger)) if part]
    if len(parts) > 1 and all(_folded(part) in folded for part in parts):
        return "joined", f" for {', '.join(repr(folded[_folded(part)]) for part in parts)}"
    if len(plain) > 1 and (whole := [member for key, member in folded.items() if key.startswith(plain)]):
        return "truncated", f", the beginning of {whole[0]!r}"
    if QUESTIONS[question_id].asks == "count" and _NUMERAL.fullmatch(stranger):
        return "numeral", ""
    if near := get_close_matches(plain, folded, 1, 0.85):
        return "vocabulary", f", nearly {folded[near[0]]!r}"
    if elsewhere := homes.get(stranger):
        return "vocabulary", f", which answers question {elsewhere[0]}"
    return "vocabulary", _remark(stranger)


def _remark(stranger: str) -> str:
    """Where a string that is no answer at all may come from."""
    if stranger.strip().casefold() in _NOTHING:
        return ", as programs write what is missing"
    if (meant := html.unescape(stranger)) != stranger:
        return f", as HTML writes {meant[:40]!r}"
    if token := _TOKEN.search(stranger):
        return f", with the model's own {token[0]!r}"
    return ""


def _folded(text: str) -> str:
    """What spelling leaves of an answer: neither case nor white space."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())
