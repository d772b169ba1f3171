"""Whether a run says what the predictions say that it was evidently made of, image by image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from imageclef_vqa.editions import as_set, same_answer
from imageclef_vqa.submission.findings import Finding, finding, number, place
from imageclef_vqa.submission.provenance import outdated_predictions
from imageclef_vqa.submission.records import Answers, PairAnswers
from imageclef_vqa.submission.run import Pair, images_of

# Good models agree on nine answers of ten, and elsewhere differ on most images and questions, where they are in doubt.
_SAME_SOURCE = 0.9
_CONFINED = 1 / 3  # of the images, or of the questions that are not answered alike throughout
_FEWEST = 10  # images; on fewer, models agree by chance
_SURE = 0.75
_SLIPPED = 3  # questions; in fewer, two models may give each answer equally often by chance


class Source(NamedTuple):
    """A prediction file: its name, its answers, how probable it calls each, and whether its model is younger."""

    name: str
    answers: PairAnswers
    probabilities: Mapping[Pair, float]
    outdated: bool = False


def check_source(answers: PairAnswers, sources: Iterable[Source]) -> Iterator[Finding]:
    """Answers that differ from the predictions that a run was evidently made of; hardly anything if it equals any.

    `sources` are all prediction files that the run may be made of.
    """
    moved: list[tuple[float, str]] = []
    whole: list[tuple[str, set[str]]] = []
    rearranged: list[tuple[str, list[str]]] = []
    closest: tuple[float, str, list[str]] = (0.0, "", [])
    images = {image_id for image_id, _ in answers}
    for name, predicted, probabilities, outdated in sources:
        shared = [pair for pair in answers if pair in predicted]
        if len(shared) < _SAME_SOURCE * len(answers) or len({image_id for image_id, _ in shared}) < _FEWEST:
            continue
        moved.append((_moved(answers, predicted), name))
        changed = [pair for pair in shared if not _same(answers[pair], predicted[pair])]
        if not changed:
            if outdated:
                yield outdated_predictions(name)
            return
        whole.append((name, {image_id for image_id, _ in shared} - {image_id for image_id, _ in changed}))
        rearranged.append((name, _rearranged(changed, answers, predicted)))
        agreement = 1 - len(changed) / len(shared)
        varied = _varied(shared, answers, predicted)
        if agreement > closest[0] and _was_altered(changed, varied, probabilities):
            told = [
                f"{place(*pair, '; '.join(answers[pair]))}, predicted {'; '.join(predicted[pair])[:60]!r}"
                for pair in changed
            ]
            closest = (agreement, name, told)
    anew = "the file was changed, or the predictions were: `medvqa package` writes it anew"
    agreement, name, told = closest
    most = max(moved, default=(0.0, ""))
    slipped = next(((name, places) for name, places in rearranged if places), None)
    if (mixture := _mixture(images, whole)) is not None:
        message = f"every image is answered as in {mixture[0]} or as in {mixture[2]}: two runs in one file"
        places = [f"{len(mixture[1]):,} images as in {mixture[0]}", f"{len(mixture[3]):,} as in {mixture[2]}"]
        yield finding("error", "mixed", places, message, "`medvqa package --run NAME` writes one run as a whole")
    elif agreement >= _SAME_SOURCE:
        message = f"{number(len(told), 'answer differs', 'answers differ')} from {name}, which the others come from"
        yield finding("error", "altered", told, message, anew)
    elif most[0] >= _SAME_SOURCE:
        message = f"the answers are those of {most[1]}, but to other images"
        yield finding("error", "altered", [f"{most[0]:.0%} of the images"], message, "`medvqa package` writes it anew")
    elif slipped is not None:
        asked = number(len(slipped[1]), "question is", "questions are")
        message = f"{asked} answered as in {slipped[0]}, but with the answers in other places"
        yield finding("error", "altered", slipped[1], message, anew)


def _mixture(images: set[str], whole: list[tuple[str, set[str]]]) -> tuple[str, set[str], str, set[str]] | None:
    """Two sources that answer all images between them, each as a whole, and the images that are due to each."""
    for name, mine in sorted(whole, key=lambda each: -len(each[1])):
        rest = images - mine
        for other, theirs in whole:
            if min(len(mine), len(rest)) >= _FEWEST and rest <= theirs:
                return name, mine, other, rest
    return None


def _rearranged(changed: list[Pair], answers: PairAnswers, predicted: PairAnswers) -> list[str]:
    """Where the answers to each question that differs are those predicted, for other images or another question.

    Empty unless all are: two models hardly ever give each answer equally often.
    """
    ours, theirs = _columns(answers), _columns(predicted)
    questions = sorted({question_id for _, question_id in changed})
    found = []
    for question_id in questions:
        mine = ours[question_id]
        exchanged = [other for other in questions if other != question_id and theirs.get(other) == mine]
        if exchanged:
            found.append(f"question {question_id}, with the answers to question {exchanged[0]}")
        elif Counter(mine.values()) == Counter(theirs.get(question_id, {}).values()):
            found.append(f"question {question_id}, with those of other images")
    exchanges = sum("to question" in place for place in found)
    return found if len(found) == len(questions) and (exchanges or len(found) >= _SLIPPED) else []


def _columns(answers: PairAnswers) -> dict[int, dict[str, frozenset[str]]]:
    """Question id → image id → answer."""
    columns: dict[int, dict[str, frozenset[str]]] = {}
    for (image_id, question_id), given in answers.items():
        columns.setdefault(question_id, {})[image_id] = as_set(given)
    return columns


def _same(one: Answers, other: Answers) -> bool:
    return one == other or same_answer(one, other)


def _varied(shared: list[Pair], answers: PairAnswers, predicted: PairAnswers) -> list[Pair]:
    """Those of `shared` whose question is not answered alike throughout: any two models agree on the others."""
    values: dict[int, set[Answers]] = {}
    for pair in shared:
        values.setdefault(pair[1], set()).update((answers[pair], predicted[pair]))
    return [pair for pair in shared if len(values[pair[1]]) > 1]


def _was_altered(changed: list[Pair], varied: list[Pair], probabilities: Mapping[Pair, float]) -> bool:
    """Whether answers were changed by hand or by accident, rather than given by another model."""
    for side in (0, 1):  # images, questions
        if len({pair[side] for pair in changed}) <= _CONFINED * len({pair[side] for pair in varied}):
            return True
    return sum(probabilities.get(pair, 0.0) for pair in changed) >= _SURE * len(changed)


def _moved(answers: PairAnswers, predicted: PairAnswers) -> float:
    """The share of images whose answers, as a whole, are those predicted for some image, each used once."""
    ours, theirs = (
        Counter(tuple(sorted(image.items())) for image in images_of(each).values()) for each in (answers, predicted)
    )
    return (ours & theirs).total() / ours.total()
