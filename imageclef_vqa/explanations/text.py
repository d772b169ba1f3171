"""Two or three sentences that say an answer and what else the model states, and nothing that it does not state.

They name no finding, place, number or colour beside those of the statements: the sureness of an answer is put in words,
and every part is left out whose facts (`editions.facts`) are not all held by the statement that it comes from.
"""

from __future__ import annotations

from collections.abc import Sequence

from imageclef_vqa.editions import NOT_RELEVANT, Implication
from imageclef_vqa.editions.facts import facts_in
from imageclef_vqa.explanations.statements import Statement

_SURE = ((0.95, "nearly certain"), (0.8, "fairly sure"), (0.5, "rather unsure"), (0.0, "very unsure"))
# Questions of the bank in the order in which their answers are told; those about the picture's making are left out.
_ORDER = (12, 10, 5, 16, 17, 8, 13, 15, 6, 14, 11, 9, 7, 0)
_MOST = 5  # statements in the second sentence
_PAIRS = 2  # contradictions in the third one
_LONGEST = 300  # characters of a quoted answer
_NOUNS = {"colour": "colour", "count": "number", "kind": "type", "location": "place", "presence": "kind"}
_NOUNS |= {"size": "size", "yes_no": "answer"}
_NAMED = ("abnormality", "finding", "instrument", "landmark")  # naming these states nothing
_TOPICS = {"removed": "removal", "easy": "easy detection"}


def explain_in_words(
    answer: Statement, others: Sequence[Statement], broken: Sequence[Implication], *, checked: bool
) -> str:
    """The text for an answer, from it, the `others` and the rules between them that are `broken`.

    `checked` says whether there were rules at all.
    """
    said = (phrase(answer) if answer.answers == answer.values else "") or _quoted(answer)
    sure = next(words for least, words in _SURE if answer.probability >= least)
    sentences = [f"The model answers: {said}; it is {sure} of this." if said else f"The model is {sure} of its answer."]
    in_doubt = {question for rule in broken for question in (rule.question, rule.then_question)}
    told = [
        phrase(each) for each in _worth_telling(answer, others) if each.question and each.question.id not in in_doubt
    ]
    told = list(dict.fromkeys(each.removesuffix("s") if each.startswith("no ") else each for each in told if each))
    told = [each for each in told if each not in (said, said.removesuffix("s"))][:_MOST]
    sentences.append(f"It also reports: {'; '.join(told)}." if told else "It reports little else about the picture.")
    by_id = {each.question.id: each for each in (*others, answer) if each.question is not None}
    if broken:
        pairs = [
            f"{phrase(by_id[rule.question]) or 'one answer'}, against: {phrase(by_id[rule.then_question]) or 'another'}"
            for rule in broken
        ]
        more = "; and others" * (len(pairs) > _PAIRS)
        sentences.append(f"Some of its answers contradict each other: {'; '.join(pairs[:_PAIRS])}{more}.")
    elif checked:
        sentences.append("Its answers agree with each other.")
    return " ".join(sentences)


def _worth_telling(answer: Statement, others: Sequence[Statement]) -> list[Statement]:
    """Likely statements that say something, those about the thing that was asked about first."""
    about = answer.question.about if answer.question is not None else None
    likely = [
        each
        for each in others
        if each.question and each.question.id in _ORDER and each.relevant and each.trained and each.probability >= 0.5
    ]
    return sorted(
        likely,
        key=lambda each: (each.question.about != about, _ORDER.index(each.question.id)) if each.question else (True, 0),
    )


def phrase(statement: Statement) -> str:
    """A statement in a few words; empty if it cannot be said without naming what it does not hold."""
    text = _phrase(statement)
    return text if facts_in(text) <= statement.facts else ""


def _phrase(statement: Statement) -> str:
    question, values = statement.question, [_clean(value) for value in statement.values]
    if question is None or not values:
        return ""
    if question.asks == "presence" and len(values) > 1:
        values = [value for value in values if value != "No"]  # before the names of things, it would deny them
    *most, last = [value.lower().replace("rigth", "right") for value in values]
    thing, joined = question.about, f"{', '.join(most)} and {last}" if most else last
    if values == [NOT_RELEVANT]:
        return f"the {_NOUNS[question.asks]}{f' of the {thing}' if thing in _NAMED else ''} does not apply"
    if question.asks == "presence":
        return f"no {thing}" if values == ["No"] else joined
    if question.asks == "count":
        number = values[0]
        return f"no {thing}s" if number == "0" else f"{number} {thing}{'s' if number != '1' else ''}"
    if question.asks == "location":
        return f"the {thing} is in the {joined}"
    if question.asks == "colour":
        return f"the {thing} is {joined}"
    if question.asks == "size":
        return f"a size of {', '.join(values)}"  # "and" between two numbers would make a range of them
    if question.asks == "kind":
        return f"type {joined}" if thing == "polyp" else joined
    if question.topic in _TOPICS:
        return f"{_TOPICS[question.topic]}: {joined}"
    shown = "a box artefact" if thing == "box" else "text"
    return shown if values == ["Yes"] else f"no {shown.removeprefix('a ')}"


def _quoted(answer: Statement) -> str:
    """The answer as it was given; empty if that names, within the sentence, what it does not hold."""
    text = f"“{_clean('; '.join(answer.answers)).rstrip('.')}”"
    return text if facts_in(f"The model answers: {text}; it is sure of this.") <= answer.facts else ""


def _clean(text: str) -> str:
    """One printable line."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:_LONGEST]
