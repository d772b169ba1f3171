"""Answers to one image that contradict each other, by what the training labels hold to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from imageclef_vqa.editions import Implication, contradictions
from imageclef_vqa.submission.chance import Counts, homogeneity
from imageclef_vqa.submission.findings import Finding, finding, number
from imageclef_vqa.submission.records import Answers
from imageclef_vqa.submission.run import Run, images_of

_MOST = 0.5
_MANY = 0.25
_MANY_FROM = 20  # images
_IMPOSSIBLE = 1e-6
_NOTHING = {"not relevant", "none"}  # what stands for no answer, in one edition or the other


def check_consistency(run: Run) -> Iterator[Finding]:
    """Images whose answers contradict each other. True labels do so here and there; most images never do."""
    found = _contradicted(run.implications, run.by_image)
    if not found:
        return
    images = len(run.by_image)
    message = (
        f"the answers to {number(len(found), 'image')} of {images:,} contradict each other, by what training shows"
    )
    # A question that is never answered, which is said of it by itself, contradicts others without a slip.
    unanswered = {
        q for q, pairs in run.by_question.items() if {member.casefold() for member in _given(pairs)} <= _NOTHING
    }
    seeing = [rule for rule in run.implications if not {rule.question, rule.then_question} & unanswered]
    count = len(_contradicted(seeing, run.by_image)) if unanswered else len(found)
    own = images_of(run.validation)
    usual = len(_contradicted(seeing, own))
    # Far oftener than on validation, and many: answers that were mixed up, not a model that errs.
    mixed = bool(own) and count / images > max(_MANY, 2 * usual / len(own))
    mixed = mixed and homogeneity(_counts(count, images), _counts(usual, len(own))) < _IMPOSSIBLE
    if images >= _MANY_FROM and (count > _MOST * images or mixed):
        remedy = "look whether answers slipped from one image, or one question, to another"
        yield finding("error", "contradiction", found, message, remedy)
    else:
        yield finding("warning", "contradiction", found, message, "one of each pair is wrong: look at the images")


def _given(pairs: Iterable[tuple[str, Answers]]) -> set[str]:
    return {member for given in {given for _, given in pairs} for member in given}


def _counts(contradicted: int, images: int) -> Counts:
    return Counter({frozenset(["contradicted"]): contradicted, frozenset(["not"]): images - contradicted})


def _contradicted(rules: Sequence[Implication], images: Mapping[str, Mapping[int, Answers]]) -> list[str]:
    places = []
    for image_id, answers in images.items():
        if broken := contradictions(answers, rules):
            rule = broken[0]
            places.append(
                f"{image_id}: question {rule.question} says {rule.answer!r}, {rule.then_question} "
                f"{'; '.join(answers[rule.then_question])[:40]!r}; in training {rule.held} of {rule.seen} say "
                f"{'; '.join(rule.then_answer)[:40]!r}"
            )
    return places
