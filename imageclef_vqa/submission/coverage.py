"""Every id of the test list exactly once, all 18 questions, in order, ids as the list spells them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from imageclef_vqa.editions import QUESTIONS
from imageclef_vqa.submission.findings import Finding, finding, number, place
from imageclef_vqa.submission.run import Run

_PICTURES = {".jpg", ".jpeg", ".png"}


def odd_characters(text: str) -> list[str]:
    """The names of characters that are no ASCII and of those that nobody sees."""
    odd = dict.fromkeys(char for char in text if not char.isascii() or not char.isprintable())
    return [unicodedata.name(char, f"U+{ord(char):04X}") for char in odd]


def check_ids(run: Run) -> Iterator[Finding]:
    """Ids that the list does not hold, each with what it seems to be; ids that the list holds twice."""
    listed = set(run.image_ids) if run.listed else set()
    images = dict.fromkeys([*run.by_image, *(image_id for image_id, _ in run.faulty)])
    unknown = [image_id for image_id in images if image_id not in listed]
    extended = [image_id for image_id in unknown if PurePosixPath(image_id).suffix.lower() in _PICTURES]
    if extended:
        message = f"{number(len(extended), 'image id ends', 'image ids end')} in a file's extension"
        yield finding("error", "extension", extended, message, "ids are file names without .jpg")
    odd = [image_id for image_id in unknown if odd_characters(image_id) or image_id != image_id.strip()]
    if odd:
        places = [f"{image_id!r:.80} holds {', '.join(odd_characters(image_id)) or 'white space'}" for image_id in odd]
        message = f"{number(len(odd), 'image id holds', 'image ids hold')} a character that no id has"
        yield finding("error", "id-characters", places, message, "write ids as the test list does")
    if not run.listed:
        return
    folded = {image_id.casefold(): image_id for image_id in run.image_ids}
    named = {*extended, *odd}
    cased = [image_id for image_id in unknown if image_id not in named and image_id.casefold() in folded]
    if cased:
        places = [f"{image_id}, {folded[image_id.casefold()]} on the list" for image_id in cased]
        message = f"{number(len(cased), 'image id is', 'image ids are')} spelt in another case than on the test list"
        yield finding("error", "id-case", places, message, "write ids as the test list does")
        named.update(cased)
    if strange := [image_id for image_id in unknown if image_id not in named]:
        message = f"{number(len(strange), 'image id is', 'image ids are')} not on the test list"
        yield finding("error", "unknown-image", strange, message, "leave them out")
    if repeated := [image_id for image_id, count in Counter(run.image_ids).items() if count > 1]:
        message = f"{number(len(repeated), 'id stands', 'ids stand')} on the test list more than once"
        yield finding("error", "repeated-id", repeated, message, "mend the id list")


def check_coverage(run: Run) -> Iterator[Finding]:
    """Images without any answer, and answers that single images lack."""
    there = {*run.by_image, *(image_id for image_id, _ in run.faulty)}
    missing = [image_id for image_id in run.image_ids if image_id not in there]
    gaps = [
        f"{image_id}, question {question.id}"
        for image_id in (run.image_ids if run.listed else there)
        if image_id in there
        for question in QUESTIONS
        if question.id not in run.by_image.get(image_id, ()) and (image_id, question.id) not in run.faulty
    ]
    remedy = "`medvqa predict` answers every image and question"
    if missing:
        message = f"{len(missing)} of {len(run.image_ids)} test images are not answered"
        yield finding("error", "missing-image", missing, message, remedy)
    if gaps:
        yield finding(
            "error", "missing-answer", gaps, f"{number(len(gaps), 'answer is', 'answers are')} missing", remedy
        )


def check_order(run: Run) -> Iterator[Finding]:
    """Questions by id within an image, images in the order of the list: a reader may go by position."""
    shuffled = [image_id for image_id, answers in run.by_image.items() if list(answers) != sorted(answers)]
    if shuffled:
        message = f"{number(len(shuffled), 'image answers', 'images answer')} the questions out of order"
        yield finding("error", "question-order", shuffled, message, "write questions 0 to 17 in order")
    mixed = [
        place(image_id, question.id, "; ".join(given))
        for question in QUESTIONS
        if question.keeps_order
        for image_id, given in run.by_question[question.id]
        if len(given) > 1 and not _in_order(given, question.known)
    ]
    if mixed:
        message = f"{number(len(mixed), 'answer lists', 'answers list')} places in another order than the labels do"
        yield finding("warning", "member-order", mixed, message, "as far as known no order is scored; theirs is safe")
    pairs = [image_id for image_id, _ in run.answers]
    starts = [image_id for place, image_id in enumerate(pairs) if place == 0 or pairs[place - 1] != image_id]
    if torn := [image_id for image_id, count in Counter(starts).items() if count > 1]:
        message = f"the answers of {number(len(torn), 'image')} stand apart, with other images between"
        yield finding("error", "torn-image", torn, message, "write an image's answers one after another")
    listed = set(run.image_ids)
    given = [image_id for image_id in run.by_image if image_id in listed] if run.listed else []
    wanted = [image_id for image_id in run.image_ids if image_id in run.by_image] if run.listed else []
    if not torn and given != wanted and set(given) == set(wanted) and len(given) == len(wanted):
        places = [f"{one} where {other} is due" for one, other in zip(given, wanted, strict=True) if one != other]
        message = f"{number(len(places), 'image stands', 'images stand')} in another place than on the test list"
        yield finding("error", "image-order", places, message, "write images in the order of the list")


def _in_order(given: Sequence[str], known: Sequence[str]) -> bool:
    places = [known.index(answer) for answer in given if answer in known]
    return places == sorted(places)
