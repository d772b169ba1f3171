"""Answers to one image that contradict each other, by rules learnt from the training labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from imageclef_vqa.editions import Implication, contradictions
from imageclef_vqa.submission.checks.counts import IMPOSSIBLE, homogeneity
from imageclef_vqa.submission.findings import Finding, counted, finding
from imageclef_vqa.submission.run import PairAnswers, RunAnswers, images_of

_FEWEST = 20  # images; in fewer, contradictions are never an error
_MOST = 0.5  # of the images; a larger share is an error whatever validation shows
_MANY = 0.25
_NO_ANSWER = {"not relevant", "none"}  # as one edition or the other spells it


def check_consistency(run: RunAnswers) -> Iterator[Finding]:
    """Images whose answers contradict each other. True labels do so too, in a few images."""
    examples = _contradictions(run.implications, run.answers)
    if not examples:
        return
    # A question that is never answered is reported elsewhere. It breaks rules, but does not show that answers slipped.
    unanswered = {
        question_id
        for question_id, pairs in run.by_question.items()
        if {answer.casefold() for _, given in pairs for answer in given} <= _NO_ANSWER
    }
    rules = [rule for rule in run.implications if not {rule.question, rule.then_question} & unanswered]
    given, validation = _count(rules, run.answers), _count(rules, run.validation)
    share = given[True] / given.total()
    usual = validation[True] / max(validation.total(), 1)
    unlike = share > max(_MANY, 2 * usual) and homogeneity(given, validation) < IMPOSSIBLE
    slipped = given.total() >= _FEWEST and (share > _MOST or unlike)
    yield finding(
        "error" if slipped else "warning",
        "contradiction",
        examples,
        f"the answers to {counted(len(examples), 'image')} of {given.total():,} contradict each other, "
        "by rules of the training labels",
        "check whether answers slipped to another image or question"
        if slipped
        else "one answer of each pair is wrong: look at the images",
    )


def _count(rules: Sequence[Implication], answers: PairAnswers) -> Counter[bool]:
    """How many images contradict one of the rules, and how many do not."""
    return Counter(bool(contradictions(image, rules)) for image in images_of(answers).values())


def _contradictions(rules: Sequence[Implication], answers: PairAnswers) -> list[str]:
    """One rule for each image that contradicts any."""
    lines = []
    for image_id, image in images_of(answers).items():
        if broken := contradictions(image, rules):
            rule = broken[0]
            lines.append(
                f"{image_id}: question {rule.question} says {rule.answer!r}, {rule.then_question} "
                f"{'; '.join(image[rule.then_question])[:40]!r}; in training {rule.held} of {rule.seen} say "
                f"{'; '.join(rule.then_answer)[:40]!r}"
            )
    return lines
