"""Checks of `predictions_1.json`: every row once and in order, whole sentences, and fields that can be meant.

What a sentence may look like is learnt from training answers, where there are any.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.errors import counted
from imageclef_vqa.submission.checks.customs import FEWEST, SPIKE, WORDS, Customs, check_truncation, located
from imageclef_vqa.submission.checks.placement import check_placement
from imageclef_vqa.submission.run import Finding, error, shown, warning
from imageclef_vqa.submission.sentences import SentenceRow, SentenceRun

# Of T5, BERT, GLM, Llama, Qwen, Florence and PaliGemma; "⁇" is an unknown token of sentencepiece, "Ġ" a blank of GPT-2.
_TOKEN = re.compile(
    r"<\|?/?[a-zA-Z_][\w:-]*\|?>|\[(?:PAD|CLS|SEP|UNK|MASK|INST|/INST|gMASK|sop|eop)\]|[▁⁇Ġ]|(?:^|\s)##\w"
    r"|^\s*(?:assistant|user|answer|question|response)\s*:",
    re.IGNORECASE,
)
_MOJIBAKE = re.compile(r"Ã[\x80-\xbf]|â€|Â[\xa0-\xbf]|\ufffd|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_REFUSAL = re.compile(r"\b(?:as an ai|i(?:'m| am) (?:sorry|unable)|i can(?:no|')t)\b", re.IGNORECASE)
_LOOP = re.compile(r"\b(\w+(?:\W+\w+){0,5})(?:\W+\1\b){3}", re.IGNORECASE)
_CONSTANT = 0.3
_NO_ANSWERS = {"(no answer)", "no answer", "nan", "null", "n/a", "undefined", "error"}
_CLOSED = {" ".join(text.split()).casefold() for question in QUESTIONS for text in question.spellings}
_CLOSED_WORDS = ("none", "not relevant", "< 5mm", "<5mm", "paris ip", "paris is", "paris iia")


class Asked(NamedTuple):
    """A row that a run must answer."""

    image_id: str
    question: str


def check_sentences(run: SentenceRun, asked: Sequence[Asked] | None, customs: Customs) -> list[Finding]:
    """Everything that is wrong with the rows; without `asked`, which rows there are is not checked."""
    found = [*_check_rows(run, asked), *_check_indices(run.rows)]
    found += [*_check_texts(run.rows, customs), *check_truncation(run.rows, customs), *_check_habits(run.rows, customs)]
    return [*found, *check_placement(run.rows, customs)]


def _check_rows(run: SentenceRun, asked: Sequence[Asked] | None) -> Iterator[Finding]:
    """Rows that are foreign, missing, repeated or in another order."""
    if asked is None:
        return
    own, known = [Asked(row.image_id, row.question) for row in run.rows], set(asked)
    strange = yield from _check_strange(run.rows, asked)
    wanted, given = Counter(asked), Counter(own)
    lacking = [f"{each.image_id[:60]}, {each.question!r:.80}" for each in (wanted - given).elements()]
    lacking = lacking[run.total - len(run.rows) + strange :]  # these rows were reported already
    if lacking:
        message = f"{counted(len(lacking), 'row is', 'rows are')} missing"
        yield error("missing", lacking, message, "answer every row of the data once")
    twice = [f"{each.image_id[:60]}, {each.question!r:.80}" for each in (given - wanted).elements() if each in known]
    if twice:
        message = f"{counted(len(twice), 'row is', 'rows are')} answered too often"
        yield error("duplicate", twice, message, "answer every row of the data once")
    if wanted == given and own != list(asked):
        first = next(at for at, (one, other) in enumerate(zip(own, asked, strict=True)) if one != other)
        remedy = "the organisers pair predictions and gold by position: keep the order of the data"
        yield error("order", [f"prediction {first}"], "the rows are in another order than the data", remedy)


def _check_strange(rows: Sequence[SentenceRow], asked: Sequence[Asked]) -> Generator[Finding, None, int]:
    """Rows that the data do not have, by the likely reason; returns how many there are."""
    known, images = set(asked), {each.image_id for each in asked}
    texts = {_plain(each.question) for each in asked}
    respelt_pairs = {(each.image_id, _plain(each.question)) for each in asked}
    found: dict[str, list[str]] = {}
    for row in rows:
        if Asked(row.image_id, row.question) in known:
            continue
        plain, cut = _plain(row.question), row.image_id.rpartition(".")[0]
        line = f"{row.where}: {row.image_id[:60]}, {row.question!r:.80}"
        if plain in _CLOSED and plain not in texts:
            kind = "edition"
        elif row.image_id not in images:
            kind = "image-id"
            line = f"{row.where}: {row.image_id!r:.80}" + f", {cut!r} without its extension" * (cut in images)
        elif (row.image_id, plain) in respelt_pairs:
            kind = "respelt"
        else:
            kind = "pair" if plain in texts else "question-text"
        found.setdefault(kind, []).append(line)
    for kind, lines in found.items():
        check, message, remedy = _STRANGE[kind]
        yield error(check, lines, message, remedy)
    return sum(map(len, found.values()))


# kind → check, what is wrong, the remedy
_STRANGE = {
    "edition": (
        "edition",
        "rows ask questions of a closed edition",
        "this edition asks the open questions of its data: name the edition of this file with --edition",
    ),
    "image-id": ("image-id", "ids that are not in the data", "write img_id as the data do"),
    "respelt": ("question-text", "questions in another case or with other blanks", "copy each from the data"),
    "pair": ("pair", "questions that the data ask of other images", "keep each image with its questions"),
    "question-text": ("question-text", "questions that the data do not ask", "copy each from the data"),
}


def _check_indices(rows: Sequence[SentenceRow]) -> Iterator[Finding]:
    if wrong := [f"{row.where}: index is {row.number}" for row in rows if row.where != f"prediction {row.number}"]:
        yield error("index", wrong, "indices that do not count up from 0", "number the rows 0, 1, 2, …")


def _check_texts(rows: Sequence[SentenceRow], customs: Customs) -> Iterator[Finding]:
    """What no sentence holds."""
    known = set("".join(customs.all))
    rules = (
        (
            "no-answer",
            _is_no_answer,
            "words for a missing or refused answer",
            "train longer, or check what the model sees",
        ),
        ("special-token", _TOKEN.search, "special tokens or a prompt", "decode with skip_special_tokens=True"),
        ("characters", _MOJIBAKE.search, "damaged or control characters", "write and read UTF-8 throughout"),
        (
            "alphabet",
            lambda text: any(map(_is_foreign, {*text} - known)),
            "invisible characters, or letters of another alphabet than training's",
            "write plain text, in the language of the training answers",
        ),
        ("html", lambda text: html.unescape(text) != text, "HTML's escapes", "unescape them: & is not &amp;"),
        ("repetition", _LOOP.search, "words in a loop", "stop at the end of a sentence, or penalise repetition"),
    )
    for name, breaks, message, remedy in rules:
        if found := [located(row) for row in rows if breaks(row.answer)]:
            yield error(name, found, f"{message} in {counted(len(found), 'answer')}", remedy)
    if found := [located(row) for row in rows if row.answer.strip() and _plain(row.answer) == _plain(row.question)]:
        yield error("echo", found, "answers that repeat their question", "cut the prompt off what the model generates")
    if found := [located(row) for row in rows if row.answer.strip() and " ".join(row.answer.split()) != row.answer]:
        yield warning("blanks", found, "answers with outer or double blanks, or line breaks", "write one line")


# check, what an answer has, by which share of the rows it exceeds training's, what is wrong, the remedy
_HABITS = (
    (
        "edition-spelling",
        re.compile(rf";|^\s*(?:{'|'.join(map(re.escape, _CLOSED_WORDS))})\s*$", re.IGNORECASE),
        SPIKE,
        "answers are spelt as in closed editions (`pink; red`, `none`)",
        "answer with sentences, as the training answers do",
    ),
    (
        "case",
        re.compile(r"^\s*[a-z]|^[^a-z]*[A-Z]{3}[^a-z]*$"),
        0.2,
        "answers begin in lower case, or have no lower case at all",
        "BLEU counts case: write sentences as the training answers do",
    ),
    (
        "punctuation",
        re.compile(r"^\s*[\"'`\[({*#-]|[.!?]{2,}\W*$"),
        SPIKE,
        "answers stand in quotes or brackets, are lists, or end in several full stops",
        "write the sentence itself",
    ),
)


def _check_habits(rows: Sequence[SentenceRow], customs: Customs) -> Iterator[Finding]:
    """What single rows cannot show: another edition's spelling, one answer for everything."""
    filled = [row for row in rows if row.answer.strip()]
    if len(filled) < FEWEST:
        return
    for check, habit, margin, message, remedy in _HABITS:
        found = [row for row in filled if habit.search(row.answer)]
        if len(found) > (customs.share(habit) + margin) * len(filled):
            yield error(check, [located(row) for row in found], message, remedy)
    repeated = [
        located(row)
        for before, row in pairwise(filled)
        if row.answer == before.answer and row.question != before.question and len(row.answer.split()) >= WORDS
    ]
    if len(repeated) > SPIKE * len(filled):
        message = f"{counted(len(repeated), 'answer repeats', 'answers repeat')} the row before, to another question"
        yield error("repeated", repeated, message, "check whether each row got its own answer")
    answer, count = Counter(row.answer for row in filled).most_common(1)[0]
    if count > (customs.all[answer] / (customs.all.total() or 1) + _CONSTANT) * len(filled):
        message = f"{count:,} of {len(filled):,} answers are the same"
        yield error("constant", [shown((answer,))], message, "check whether the model sees pictures and questions")


def _is_foreign(sign: str) -> bool:
    """Whether a character is invisible or half of one, or a letter that is not Latin."""
    if sign.isascii():
        return False
    return unicodedata.category(sign) in ("Cf", "Cs") or (
        sign.isalpha() and not unicodedata.name(sign, "").startswith(("LATIN", "MICRO"))
    )


def _is_no_answer(text: str) -> bool:
    return text.strip().casefold() in _NO_ANSWERS or _REFUSAL.search(text) is not None


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
