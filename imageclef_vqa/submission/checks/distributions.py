"""Answers as distributions: how many values, how often each, and which together, against training and validation.

Models err, and test images may differ from training images: a difference is an error only where neither explains it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import combinations
from typing import NamedTuple

from imageclef_vqa.editions import QUESTIONS, Implication, QuestionVocabulary, as_set
from imageclef_vqa.errors import counted
from imageclef_vqa.statistics import distance, holm, homogeneity
from imageclef_vqa.submission.run import (
    Answers,
    Finding,
    PairAnswers,
    RunAnswers,
    Severity,
    error,
    finding,
    images_of,
    shown,
    warning,
)

FEW = 20  # images, answers or labels; fewer show nothing
IMPOSSIBLE = 1e-6  # probability; a rarer event is not chance
_RATIO = 1.5  # of the mean numbers of values
_SEVERAL = 1.5  # mean number of values in the labels of a question that asks for several
_ALONE_FROM = 50  # labels of a value that stands alone; after fewer it may still get company
_SETS_FROM = 400  # labels of a question that takes a set; fewer may lack the large sets
_CONSTANT_FROM = 10  # images; fewer can have one answer by chance
_USUAL = 0.95  # share of the training labels; one answer throughout is then expected
_MOST_BROKEN = 2  # questions; test images of another kind change more
_DRIFT = 0.001  # p-value, corrected for the number of questions
_FAR = {"the training labels": 0.25, "the model's own to validation": 0.15}  # distances
_SWAPPED = 0.25  # distance; images of another kind move one of two questions as far, hardly ever both
_MOST, _MANY = 0.5, 0.25  # shares of images that contradict themselves: always an error; if validation has half of it
_NO_ANSWER = {"not relevant", "none"}  # as one edition or the other spells it

Given = list[tuple[str, Answers]]  # (image id, answers) of one question
Counts = Counter[frozenset[str]]  # answer → how often it is given


class QuestionCounts(NamedTuple):
    """The answers to one question: in the run, in the training labels, and of the same model to validation images."""

    given: Counts
    labels: Counts
    validation: Counts


def count_answers(run: RunAnswers) -> dict[int, QuestionCounts]:
    """Question id → counts, for the questions that the run answers."""
    given, validation = _by_question(run.answers), _by_question(run.validation)
    return {
        question_id: QuestionCounts(
            counts, _labels(run.vocabulary[question_id]), validation.get(question_id, Counter())
        )
        for question_id, counts in sorted(given.items())
    }


def _labels(entry: QuestionVocabulary) -> Counts:
    return Counter({frozenset(members): count for members, count in entry.sets})


def _by_question(answers: PairAnswers) -> dict[int, Counts]:
    counts: dict[int, Counts] = {}
    for (_, question_id), given in answers.items():
        counts.setdefault(question_id, Counter())[as_set(given)] += 1
    return counts


def _share(counts: Counts, answer: frozenset[str]) -> float:
    return counts[answer] / max(counts.total(), 1)


def check_arity(run: RunAnswers) -> Iterator[Finding]:
    """How many values answers have, and which of them together, compared with training. Whole sets are scored."""
    for question_id, given in run.by_question.items():
        entry = run.vocabulary[question_id]
        if given and entry.sets:
            alone = {member for member, others in entry.companions.items() if not others}
            yield from _check_mean(question_id, _labels(entry), given, alone)
            yield from _check_sets(question_id, _labels(entry), given, alone)


def _check_mean(question_id: int, labels: Counts, given: Given, alone: Set[str]) -> Iterator[Finding]:
    """The mean number of values; one throughout is an error where most labels without those of `alone` have several."""
    mine, training = sum(len(answers) for _, answers in given) / len(given), _mean_size(labels)
    message = f"question {question_id}: you answer {mine:.1f} values on average, the training labels {training:.1f}"
    remedy = "answers are scored as whole sets: always answering one value cost the paper's entry 8 points"
    images = [image_id for image_id, _ in given]
    sizes = [len(answers) for _, answers in given if alone.isdisjoint(answers)]
    others = Counter({key: count for key, count in labels.items() if alone.isdisjoint(key)})
    single = sum(count for key, count in others.items() if len(key) == 1)
    chance = ((single + 1) / (others.total() + 2)) ** len(sizes)  # Laplace's rule of succession
    if {*sizes} == {1} and others.total() >= FEW and _mean_size(others) >= _SEVERAL and chance < IMPOSSIBLE:
        yield error("arity", images, f"{message}, and never more than one", remedy)
    elif max(mine, training) >= _RATIO * min(mine, training):
        yield warning("arity", images, message, remedy)


def _mean_size(counts: Counts) -> float:
    return sum(len(key) * count for key, count in counts.items()) / max(counts.total(), 1)


def _check_sets(question_id: int, labels: Counts, given: Given, alone: Set[str]) -> Iterator[Finding]:
    """Several values where training has one, over twice as many as any label, or some that never stand together."""
    asked, most, sure = f"question {question_id}", max(map(len, labels)), labels.total() >= _SETS_FROM
    sets = [(image_id, answers) for image_id, answers in given if len(answers) > 1]
    if sets and most == 1:
        message = f"{asked}: {len(sets)} of {len(given)} answers have several values, training has one"
        severity: Severity = "error" if sure or not QUESTIONS[question_id].takes_a_set else "warning"
        remedy = "choose one: a set that training never has cannot match"
        yield finding(
            severity, "arity", [f"{image_id}: {shown(answers)}" for image_id, answers in sets], message, remedy
        )
        return
    large = [f"{image_id}: {len(answers)} values" for image_id, answers in sets if len(answers) > 2 * most]
    if large and sure:
        message = f"{asked}: {len(large)} of {len(given)} answers have over twice as many values as any training label"
        yield error("arity", large, message, "answer with what the image shows, not with all possible values")
    alone = {member for member in alone if labels[frozenset({member})] >= _ALONE_FROM}
    if wrong := [f"{image_id}: {shown(answers)}" for image_id, answers in sets if not alone.isdisjoint(answers)]:
        message = f"{asked}: {len(wrong)} sets hold a value that always stands alone in training"
        yield error("company", wrong, message, f"leave {', '.join(map(repr, sorted(alone)))[:120]} out of sets")


def check_constant(run: RunAnswers) -> Iterator[Finding]:
    """Questions with one answer for all images although the training labels vary.

    Chance cannot explain it if the same model's answers to validation images vary; images of another kind can, if the
    answers to many questions change.
    """
    counts = count_answers(run)
    constant = {q: shown(run.by_question[q][0][1]) for q, each in counts.items() if len(each.given) == 1}
    images = len(run.by_image)
    if len(constant) == len(counts) > len(QUESTIONS) // 2 and images >= FEW:
        lines = [f"question {question_id}: {answer}" for question_id, answer in constant.items()]
        message = f"every question is answered alike for all {images:,} images, whatever they show"
        yield error("constant", lines, message, "check whether these are default answers instead of predictions")
        return
    unusual = [q for q in constant if _is_unusual(counts[q])]
    broken = [q for q in unusual if _is_broken(counts[q])]
    varied = [each for each in counts.values() if len(each.given) > 1]
    drifting = sum(homogeneity(each.given, each.validation) < _DRIFT for each in varied)
    other_images = len(broken) > _MOST_BROKEN or 2 * drifting >= len(counts)
    for question_id in unusual:
        given, labels, validation = counts[question_id]
        (value,) = given
        message = f"question {question_id}: all {given.total()} answers are {constant[question_id]}"
        message += f", {_share(labels, value):.0%} in training"
        message += f", {_share(validation, value):.0%} of the model's own to validation" * bool(validation)
        severity: Severity = "error" if question_id in broken and not other_images else "warning"
        locations = [image_id for image_id, _ in run.by_question[question_id]]
        yield finding(severity, "constant", locations, message, "check whether the model learnt this question")


def _is_unusual(counts: QuestionCounts) -> bool:
    commonest = max(counts.labels.values(), default=0)
    return counts.given.total() >= _CONSTANT_FROM and commonest < _USUAL * counts.labels.total()


def _is_broken(counts: QuestionCounts) -> bool:
    (value,) = counts.given
    share = max(_share(counts.validation, value), _share(counts.labels, value))
    return bool(counts.validation) and share < _USUAL and share ** counts.given.total() < IMPOSSIBLE


def check_drift(run: RunAnswers) -> Iterator[Finding]:
    """Questions whose answers are distributed differently from training, or from the model's own on validation.

    Both a significant test (chi-square with Holm's correction) and a large distance are needed: frames of one
    examination share their answers, so that the test takes small differences for significant.
    """
    counts = {q: each for q, each in count_answers(run).items() if len(each.given) > 1 and each.labels}
    found: dict[int, Finding] = {}
    for reference, (name, far) in enumerate(_FAR.items(), start=1):
        for q, p in holm({q: homogeneity(each.given, each[reference]) for q, each in counts.items()}).items():
            given, other = counts[q].given, counts[q][reference]
            if p < _DRIFT and distance(given, other) >= far:
                ranked = sorted({**given, **other}, key=lambda a: -abs(_share(given, a) - _share(other, a)))
                lines = [f"{shown(sorted(a))} {_share(given, a):.0%}, not {_share(other, a):.0%}" for a in ranked[:3]]
                rounded = f"= {p:.0e}" if p > 1e-12 else "< 1e-12"
                message = f"question {q}: answers are distributed differently from {name} (p {rounded})"
                remedy = "check whether the test images differ or the answers slipped"
                found[q] = warning("drift", lines, message, remedy)
    yield from (found[question_id] for question_id in sorted(found))


def check_swaps(run: RunAnswers) -> Iterator[Finding]:
    """Pairs of questions far from their own labels and at most half as far from each other's."""
    counts = {q: each for q, each in count_answers(run).items() if min(each.given.total(), each.labels.total()) >= FEW}
    own = {q: distance(each.given, each.labels) for q, each in counts.items()}
    for one, other in combinations([q for q in counts if own[q] >= _SWAPPED], 2):
        if all(distance(counts[a].given, counts[b].labels) <= own[a] / 2 for a, b in ((one, other), (other, one))):
            message = f"questions {one} and {other}: each is answered as training answers the other"
            remedy = "check whether their answers or their numbers were exchanged"
            yield error("swapped", [f"question {one}", f"question {other}"], message, remedy)


def check_consistency(run: RunAnswers) -> Iterator[Finding]:
    """Images whose answers contradict each other, by rules of the training labels. A few true labels do so too."""
    broken = _contradictions(run.implications, run.answers)
    examples = [_explained(image_id, run.by_image[image_id], rule) for image_id, rule in broken.items() if rule]
    if not examples:
        return
    # A question that is never answered is reported elsewhere. It breaks rules, but does not show that answers slipped.
    unanswered = {
        question_id
        for question_id, pairs in run.by_question.items()
        if {answer.casefold() for _, given in pairs for answer in given} <= _NO_ANSWER
    }
    rules = [rule for rule in run.implications if not {rule.question, rule.then_question} & unanswered]
    given, usual = (Counter(map(bool, _contradictions(rules, each).values())) for each in (run.answers, run.validation))
    share, expected = given[True] / given.total(), usual[True] / max(usual.total(), 1)
    unlike = share > max(_MANY, 2 * expected) and homogeneity(given, usual) < IMPOSSIBLE
    slipped = given.total() >= FEW and (share > _MOST or unlike)
    message = f"the answers to {counted(len(examples), 'image')} of {given.total():,} contradict each other, "
    message += "by rules of the training labels"
    if slipped:
        yield error("contradiction", examples, message, "check whether answers slipped to another image or question")
    else:
        yield warning("contradiction", examples, message, "one answer of each pair is wrong: look at the images")


def _contradictions(rules: Sequence[Implication], answers: PairAnswers) -> dict[str, Implication | None]:
    """Image id → the first rule that its answers contradict, if they do."""
    images = images_of(answers).items()
    return {image_id: next((rule for rule in rules if rule.contradicted_by(image)), None) for image_id, image in images}


def _explained(image_id: str, image: Mapping[int, Answers], rule: Implication) -> str:
    one, other = f"question {rule.question} says {rule.answer!r}", "; ".join(image[rule.then_question])[:40]
    trained = f"in training {rule.held} of {rule.seen} say {'; '.join(rule.then_answer)[:40]!r}"
    return f"{image_id}: {one}, {rule.then_question} {other!r}; {trained}"
