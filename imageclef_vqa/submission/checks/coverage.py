"""Structure: every image of the test list once, all questions, in order, ids spelt as on the list."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import PurePosixPath

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.editions.records import IMAGE_ID
from imageclef_vqa.errors import counted
from imageclef_vqa.submission.run import Finding, RunAnswers, error, location, warning

_PICTURES = {".jpg", ".jpeg", ".png"}
_AS_LISTED = "write ids as the test list does"


def odd_characters(text: str) -> list[str]:
    """The Unicode names of characters that are not ASCII or not visible."""
    odd = dict.fromkeys(char for char in text if not char.isascii() or not char.isprintable())
    return [unicodedata.name(char, f"U+{ord(char):04X}") for char in odd]


def check_ids(run: RunAnswers) -> Iterator[Finding]:
    """Ids that are not on the list, each with the likely reason; ids that the list repeats; ids that break the format.

    Without a list, every id of the file is looked at.
    """
    listed = dict.fromkeys(run.image_ids) if run.listed else {}
    images = dict.fromkeys([*run.by_image, *(image_id for image_id, _ in run.faulty)])
    unknown = [image_id for image_id in images if image_id not in listed]
    extended = [image_id for image_id in unknown if PurePosixPath(image_id).suffix.lower() in _PICTURES]
    if extended:
        message = f"{counted(len(extended), 'image id ends', 'image ids end')} in a file's extension"
        yield error("extension", extended, message, "ids are file names without .jpg")
    odd = [image_id for image_id in unknown if odd_characters(image_id) or image_id != image_id.strip()]
    if odd:
        lines = [f"{image_id!r:.80} holds {', '.join(odd_characters(image_id)) or 'white space'}" for image_id in odd]
        message = f"{counted(len(odd), 'image id holds', 'image ids hold')} a character that no id has"
        yield error("id-characters", lines, message, _AS_LISTED)
    explained = {*extended, *odd}
    spelling = {image_id.casefold(): image_id for image_id in listed}
    cased = [image_id for image_id in unknown if image_id not in explained and image_id.casefold() in spelling]
    if cased:
        lines = [f"{image_id}, {spelling[image_id.casefold()]} on the list" for image_id in cased]
        message = f"{counted(len(cased), 'image id differs', 'image ids differ')} from the test list in case"
        yield error("id-case", lines, message, _AS_LISTED)
        explained.update(cased)
    others = [image_id for image_id in unknown if image_id not in explained]
    if others and run.listed:
        message = f"{counted(len(others), 'image id is', 'image ids are')} not on the test list"
        yield error("unknown-image", others, message, "remove them")
    invalid = [image_id for image_id in (*listed, *others) if not re.fullmatch(IMAGE_ID, image_id)]
    if invalid:
        message = f"{counted(len(invalid), 'image id breaks', 'image ids break')} the format of a record"
        yield error("record", invalid, message, "ids consist of letters, digits, '_', '-' and '.', at most 128")
    if run.listed and (repeated := [each for each, count in Counter(run.image_ids).items() if count > 1]):
        message = f"{counted(len(repeated), 'id stands', 'ids stand')} on the test list more than once"
        yield error("repeated-id", repeated, message, "correct the id list")


def check_coverage(run: RunAnswers) -> Iterator[Finding]:
    """Images without any answer, and questions without an answer in an image that has others."""
    present = dict.fromkeys([*run.by_image, *(image_id for image_id, _ in run.faulty)])
    missing = [image_id for image_id in run.image_ids if image_id not in present]
    gaps = [
        f"{image_id}, question {question.id}"
        for image_id in (run.image_ids if run.listed else present)
        if image_id in present
        for question in QUESTIONS
        if question.id not in run.by_image.get(image_id, ()) and (image_id, question.id) not in run.faulty
    ]
    remedy = "`medvqa predict` answers every image and question"
    if missing:
        message = f"{len(missing)} of {len(run.image_ids)} test images are not answered"
        yield error("missing-image", missing, message, remedy)
    if gaps:
        yield error("missing-answer", gaps, f"{counted(len(gaps), 'answer is', 'answers are')} missing", remedy)


def check_order(run: RunAnswers) -> Iterator[Finding]:
    """Images in the order of the list, questions by id: a reader may rely on positions instead of ids."""
    shuffled = [image_id for image_id, answers in run.by_image.items() if list(answers) != sorted(answers)]
    if shuffled:
        message = f"{counted(len(shuffled), 'image answers', 'images answer')} the questions out of order"
        yield error("question-order", shuffled, message, f"write questions 0 to {QUESTIONS[-1].id} in order")
    mixed = [
        location(image_id, question.id, given)
        for question in QUESTIONS
        if question.asks == "location"  # whose sets the labels list in the order of `known`
        for image_id, given in run.by_question[question.id]
        if len(given) > 1 and not _in_order(given, question.known)
    ]
    if mixed:
        message = f"{counted(len(mixed), 'answer lists', 'answers list')} locations in another order than the labels"
        remedy = "use the order of the labels: a scorer may compare text"
        yield warning("member-order", mixed, message, remedy)
    starts = [image_id for image_id, _ in groupby(run.answers, key=lambda pair: pair[0])]
    if torn := [image_id for image_id, count in Counter(starts).items() if count > 1]:
        message = f"the answers to {counted(len(torn), 'image')} do not stand together"
        yield error("torn-image", torn, message, "write all answers to an image one after another")
    elif run.listed:
        yield from _check_image_order(run)


def _check_image_order(run: RunAnswers) -> Iterator[Finding]:
    listed = set(run.image_ids)
    given = [image_id for image_id in run.by_image if image_id in listed]
    wanted = [image_id for image_id in run.image_ids if image_id in run.by_image]
    if len(given) != len(wanted):  # the list repeats an id
        return
    lines = [f"{one} where {other} is due" for one, other in zip(given, wanted, strict=True) if one != other]
    if lines:
        message = f"{counted(len(lines), 'image is', 'images are')} at another position than on the test list"
        yield error("image-order", lines, message, "write images in the order of the list")


def _in_order(given: Sequence[str], known: Sequence[str]) -> bool:
    positions = [known.index(answer) for answer in given if answer in known]
    return positions == sorted(positions)


def check_untrained(run: RunAnswers) -> Iterator[Finding]:
    """Questions that the training labels never answer. Without any labels, nothing is reported."""
    untrained = run.vocabulary.untrained
    if untrained and len(untrained) < len(QUESTIONS):
        questions = [f"{question_id}: {QUESTIONS[question_id].text}" for question_id in untrained]
        message = f"training never answers {len(questions)} of the {len(QUESTIONS)} questions"
        remedy = "their answers are guesses among the values known of the competition"
        yield warning("untrained", questions, message, remedy)
