"""The facts that a sentence names: numbers, places, colours, and findings with whether they are there.

Rules for the wording of Kvasir-VQA-x1 and of the annotations that it was made from; no language model is involved.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from imageclef_vqa.editions.questions import QUESTIONS

FactKind = Literal["number", "place", "colour", "finding"]
FACT_KINDS: tuple[FactKind, ...] = get_args(FactKind)


class Fact(NamedTuple):
    """One fact: `Fact("place", "upper-left")`, `Fact("finding", "no polyp")`."""

    kind: FactKind
    value: str


_NUMERALS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen"),
)
_NUMBER_OF = {word: str(number) for number, word in enumerate(_NUMERALS)}
_BELOW, _ABOVE = r"<|(?:less|smaller) than|under|below", r">|(?:greater|more|larger|bigger) than|over|above"
_NUMBER = re.compile(
    rf"(?P<sign>{_BELOW}|{_ABOVE})?\s*\b(?P<number>\d+|{'|'.join(_NUMERALS)})(?:(?=\s*mm\b)|(?![\w/]))"
)
_BETWEEN = re.compile(r"(\d+)\s*(?:mm)?\s*(?:-|–|to|and)\s*(\d+)\s*(?=mm|millim)")
_PLACE = re.compile(r"\b(upper|lower|center|top|bottom|middle)(?:[-\s]+(left|right|rigth|center|middle))?\b")
_SAME_PLACE = {"top": "upper", "bottom": "lower", "middle": "center", "rigth": "right"}
_COLOURS = sorted(
    {part.lower() for q in QUESTIONS if q.asks == "colour" for each in q.known for part in each.split("/")}
)
_COLOUR = re.compile(
    rf"\b({'|'.join(colour for colour in _COLOURS if colour not in ('not relevant', 'ink'))})(?:d?ish)?\b"
)
# Words for the same thing, in lower case and with "e" for "oe" and "ae"; the longer one of two comes first.
_FINDINGS = {
    "ulcerative colitis": r"ulcerative colitis",
    "oesophagitis": r"esophagitis",
    "barretts": r"barrett'?s?",
    "z-line": r"z[- ]?line",
    "cecum": r"cecum",
    "pylorus": r"pylorus",
    "ileum": r"ileum",
    "tube": r"tubes?",
    "biopsy forceps": r"(?:biopsy )?forceps",
    "polyp snare": r"(?:polyp )?snares?",
    "metal clip": r"(?:metal )?clips?",
    "injection needle": r"(?:injection )?needles?",
    "text": r"text",
    "box artefact": r"(?:black )?box(?:[- ]like)?(?: art[ei]facts?)?|art[ei]facts?",
    "colonoscopy": r"colonoscop\w+",
    "gastroscopy": r"gastroscop\w+",
    "endoscopy": r"endoscop\w+",
    "paris ip": r"paris(?:[- ]type)? ip|ip[- ]type",
    "paris is": r"paris(?:[- ]type)? is(?! (?:a|an|the|present|visible)\b)",
    "paris iia": r"paris(?:[- ]type)? iia|iia[- ]type",
    "paris": r"paris",
    "polyp": r"polyps?",
}
# Words that a question already says: their absence is a fact, their presence is not.
_GENERAL = {"abnormality": r"abnormalit(?:y|ies)", "landmark": r"landmarks?", "instrument": r"instruments?"}
_FINDING = re.compile(
    "|".join(rf"(?P<f{index}>\b(?:{words})\b)" for index, words in enumerate((_FINDINGS | _GENERAL).values()))
)
_NAMES = (*_FINDINGS, *_GENERAL)
_DENIAL = re.compile(r"\b(?:no|not|none|neither|nor|never|without|absent|absence|zero|0|\w+n't)\b|\bfree of\b")
# Where a denial ends: "no polyps, but a tube", "no polyps and one tube".
_CLAUSE = re.compile(
    r"[.;:!?]\s|\b(?:but|however|although|while|whereas)\b|\b(?:and|with) (?=(?:an?|one|two|three|[1-9])\b)"
)


@lru_cache(maxsize=1 << 16)
def facts_in(sentence: str) -> frozenset[Fact]:
    """The facts that `sentence` names; a bare yes or no is a finding, too."""
    text = " ".join(sentence.lower().replace("centre", "center").replace("oe", "e").replace("ae", "e").split())
    bare = text.strip(" .!")
    if bare in ("yes", "no"):
        return frozenset({Fact("finding", bare)})
    text = re.sub(r"^(?:yes|no)\b[,.]?\s*(?=\w+\s)", "", text) if re.match(r"(?:yes|no)[,.]", text) else text
    text = text.replace("green/black", "").replace("green and black box", "box")  # the artefact's name, no colours
    return frozenset({*_numbers(text), *_places(text), *_colours(text), *_findings(text)})


def _numbers(text: str) -> list[Fact]:
    sizes = [Fact("number", f"{low}-{high}") for low, high in _BETWEEN.findall(text)]
    numbers = []
    for found in _NUMBER.finditer(_BETWEEN.sub(" ", text)):
        number, sign = found["number"], found["sign"] or ""
        written = "<" if re.fullmatch(_BELOW, sign) else ">" if sign else ""
        numbers.append(Fact("number", written + _NUMBER_OF.get(number, number)))
    return sizes + numbers


def _places(text: str) -> list[Fact]:
    places = []
    for vertical, side in _PLACE.findall(text):
        parts = [_SAME_PLACE.get(part, part) for part in (vertical, side) if part]
        places.append(Fact("place", "-".join(dict.fromkeys(parts))))  # "center-center" is the centre
    return places


def _colours(text: str) -> list[Fact]:
    return [Fact("colour", "grey" if colour == "gray" else colour) for colour in _COLOUR.findall(text)]


def _findings(text: str) -> list[Fact]:
    facts, start = [], 0
    for end in [*(match.end() for match in _CLAUSE.finditer(text)), len(text)]:
        clause = text[start:end]
        start = end
        denial = _DENIAL.search(clause)
        for found in _FINDING.finditer(clause):
            name = _NAMES[int((found.lastgroup or "f0")[1:])]
            after = clause[found.end() :]
            denied = (denial is not None and denial.start() < found.start()) or re.match(
                r"[- ]free\b|s? (?:is|are|was|were) (?:not|absent)\b", after
            )
            if denied or name in _FINDINGS:
                facts.append(Fact("finding", f"no {name}" if denied else name))
    return facts
