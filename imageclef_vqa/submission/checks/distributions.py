"""The answers to each question as a distribution: how many values, and how often each, against training and validation.

Models err, and test images may differ from training images: a difference is an error only where neither explains it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations

from imageclef_vqa.editions import QUESTIONS, QuestionVocabulary
from imageclef_vqa.statistics import holm
from imageclef_vqa.submission.checks.counts import (
    IMPOSSIBLE,
    Counts,
    QuestionCounts,
    count_answers,
    differences,
    distance,
    homogeneity,
)
from imageclef_vqa.submission.findings import Finding, Severity, error, finding, shown, warning
from imageclef_vqa.submission.run import Answers, RunAnswers

_FEW = 20  # images, answers or labels; from fewer nothing is concluded
_ARITY_RATIO = 1.5  # of the mean numbers of values
_SEVERAL = 1.5  # mean number of values in the labels of a question that asks for several
_ALONE_FROM = 50  # labels of a value that stands alone; after fewer it may still get company
_SETS_FROM = 400  # labels of a question that takes a set; fewer may lack the large sets
_CONSTANT_FROM = 10  # images; fewer can have one answer by chance
_USUAL = 0.95  # share of the training labels; one answer throughout is then expected
_MOST_BROKEN = 2  # questions; test images of another kind change more
_DRIFT = 0.001  # p-value, corrected for the number of questions
_FAR_FROM_TRAINING, _FAR_FROM_VALIDATION = 0.25, 0.15  # distances
_SWAP_DISTANCE = 0.25  # images of another kind move one of two questions as far, hardly ever both

Given = list[tuple[str, Answers]]  # (image id, answers) of one question


def check_arity(run: RunAnswers) -> Iterator[Finding]:
    """How many values an answer has, compared with training. Answers are scored as whole sets."""
    for question_id, given in run.by_question.items():
        entry = run.vocabulary[question_id]
        if given and entry.sets:
            yield from _too_few(question_id, entry, given)
            yield from _too_many(question_id, entry, given)
            yield from _wrong_company(question_id, entry, given)


def _too_few(question_id: int, entry: QuestionVocabulary, given: Given) -> Iterator[Finding]:
    mine = sum(len(answers) for _, answers in given) / len(given)
    labels = sum(count for _, count in entry.sets)
    training = sum(len(members) * count for members, count in entry.sets) / labels
    message = f"question {question_id}: you answer {mine:.1f} values on average, the training labels {training:.1f}"
    remedy = "answers are scored as whole sets: always answering one value cost the paper's entry 8 points"
    images = [image_id for image_id, _ in given]
    if _always_one(entry, given):
        yield error("arity", images, f"{message}, and never more than one", remedy)
    elif max(mine, training) >= _ARITY_RATIO * min(mine, training):
        yield warning("arity", images, message, remedy)


def _always_one(entry: QuestionVocabulary, given: Given) -> bool:
    """Whether answers have one value where most labels have several. Values that always stand alone do not count."""
    alone = {member for member, others in entry.companions.items() if not others}
    labels: Counter[int] = Counter()  # number of values → labels
    for members, count in entry.sets:
        if alone.isdisjoint(members):
            labels[len(members)] += count
    sizes = [len(answers) for _, answers in given if alone.isdisjoint(answers)]
    total = labels.total()
    if not sizes or max(sizes) > 1 or total < _FEW:
        return False
    if sum(size * count for size, count in labels.items()) < _SEVERAL * total:
        return False
    single = (labels[1] + 1) / (total + 2)  # Laplace's rule of succession
    return bool(single ** len(sizes) < IMPOSSIBLE)


def _too_many(question_id: int, entry: QuestionVocabulary, given: Given) -> Iterator[Finding]:
    """Several values where training has one, or more than twice as many as any label."""
    most = max(len(members) for members, _ in entry.sets)
    sure = sum(count for _, count in entry.sets) >= _SETS_FROM
    of_all = f"of {len(given)} answers have"
    if several := [f"{image_id}: {shown(answers)}" for image_id, answers in given if len(answers) > most == 1]:
        message = f"question {question_id}: {len(several)} {of_all} several values, training has one"
        severity: Severity = "error" if sure or not QUESTIONS[question_id].takes_a_set else "warning"
        yield finding(severity, "arity", several, message, "choose one: a set that training never has cannot match")
        return
    large = [f"{image_id}: {len(answers)} values" for image_id, answers in given if len(answers) > 2 * most]
    if large and sure:
        message = f"question {question_id}: {len(large)} {of_all} over twice as many values as any training label"
        yield error("arity", large, message, "answer with what the image shows, not with all possible values")


def _wrong_company(question_id: int, entry: QuestionVocabulary, given: Given) -> Iterator[Finding]:
    if not entry.takes_a_set:
        return
    labels = Counter(member for members, count in entry.sets for member in members for _ in range(count))
    alone = {member for member, others in entry.companions.items() if not others and labels[member] >= _ALONE_FROM}
    wrong = [f"{image_id}: {shown(answers)}" for image_id, answers in given if len(answers) > 1 and alone & {*answers}]
    if wrong:
        message = f"question {question_id}: {len(wrong)} sets hold a value that always stands alone in training"
        yield error("company", wrong, message, f"leave {', '.join(map(repr, sorted(alone)))[:120]} out of sets")


def check_constant(run: RunAnswers) -> Iterator[Finding]:
    """Questions with one answer for all images although the training labels vary."""
    counts = count_answers(run)
    constant = [question_id for question_id, each in counts.items() if len(each.given) == 1]
    answer = {question_id: shown(run.by_question[question_id][0][1]) for question_id in constant}
    images = len(run.by_image)
    if len(constant) == len(counts) > len(QUESTIONS) // 2 and images >= _FEW:
        lines = [f"question {question_id}: {answer[question_id]}" for question_id in constant]
        message = f"every question is answered alike for all {images:,} images, whatever they show"
        yield error("constant", lines, message, "check whether these are default answers instead of predictions")
        return
    unusual = [question_id for question_id in constant if _is_unusual(counts[question_id])]
    broken = [question_id for question_id in unusual if _is_broken(counts[question_id])]
    drifting = [
        q for q, each in counts.items() if q not in constant and homogeneity(each.given, each.validation) < _DRIFT
    ]
    other_images = len(broken) > _MOST_BROKEN or 2 * len(drifting) >= len(counts)
    for question_id in unusual:
        given, labels, validation = counts[question_id]
        (value,) = given
        message = f"question {question_id}: all {given.total()} answers are {answer[question_id]}"
        message += f", {_share(labels, value)} in training"
        if validation:
            message += f", {_share(validation, value)} of the model's own to validation"
        yield finding(
            "error" if question_id in broken and not other_images else "warning",
            "constant",
            [image_id for image_id, _ in run.by_question[question_id]],
            message,
            "check whether the model learnt this question",
        )


def _is_unusual(counts: QuestionCounts) -> bool:
    """Whether one answer throughout is unexpected after what training answers."""
    given, labels, _ = counts
    return given.total() >= _CONSTANT_FROM and max(labels.values(), default=0) < _USUAL * labels.total()


def _is_broken(counts: QuestionCounts) -> bool:
    """Whether chance cannot explain it: the same model's answers to validation images vary."""
    given, labels, validation = counts
    if not validation:
        return False
    (value,) = given
    share = max(validation[value] / validation.total(), labels[value] / labels.total())
    return bool(share < _USUAL and share ** given.total() < IMPOSSIBLE)


def check_drift(run: RunAnswers) -> Iterator[Finding]:
    """Questions whose answers are distributed differently from training, or from the model's own on validation.

    Both a significant test (chi-square with Holm's correction) and a large distance are needed: frames of one
    examination share their answers, so that the test takes small differences for significant.
    """
    counts = {q: each for q, each in count_answers(run).items() if len(each.given) > 1 and each.labels}
    references = (
        ("the training labels", 1, _FAR_FROM_TRAINING),
        ("the model's own to validation", 2, _FAR_FROM_VALIDATION),
    )
    found: dict[int, Finding] = {}
    for name, reference, far in references:
        p_values = holm({q: homogeneity(each.given, each[reference]) for q, each in counts.items()})
        for question_id, p in p_values.items():
            given, other = counts[question_id].given, counts[question_id][reference]
            if p < _DRIFT and distance(given, other) >= far:
                found[question_id] = _drifted(question_id, given, other, name, p)
    yield from (found[question_id] for question_id in sorted(found))


def _drifted(question_id: int, given: Counts, other: Counts, name: str, p: float) -> Finding:
    ranked = sorted(differences(given, other).items(), key=lambda item: -abs(item[1]))
    lines = [f"{shown(sorted(key))} {_share(given, key)}, not {_share(other, key)}" for key, _ in ranked[:3]]
    rounded = f"= {p:.0e}" if p > 1e-12 else "< 1e-12"
    message = f"question {question_id}: answers are distributed differently from {name} (p {rounded})"
    return warning("drift", lines, message, "check whether the test images differ or the answers slipped")


def check_swaps(run: RunAnswers) -> Iterator[Finding]:
    """Pairs of questions far from their own labels and at most half as far from each other's."""
    counts = {q: each for q, each in count_answers(run).items() if min(each.given.total(), each.labels.total()) >= _FEW}
    own = {q: distance(each.given, each.labels) for q, each in counts.items()}
    for one, other in combinations([q for q in counts if own[q] >= _SWAP_DISTANCE], 2):
        if all(distance(counts[a].given, counts[b].labels) <= own[a] / 2 for a, b in ((one, other), (other, one))):
            message = f"questions {one} and {other}: each is answered as training answers the other"
            remedy = "check whether their answers or their numbers were exchanged"
            yield error("swapped", [f"question {one}", f"question {other}"], message, remedy)


def check_untrained(run: RunAnswers) -> Iterator[Finding]:
    """Questions that the training labels never answer. Without any labels, nothing is reported."""
    untrained = run.vocabulary.untrained
    if untrained and len(untrained) < len(QUESTIONS):
        questions = [f"{question_id}: {QUESTIONS[question_id].text}" for question_id in untrained]
        message = f"training never answers {len(questions)} of the {len(QUESTIONS)} questions"
        remedy = "their answers are guesses among the values known of the competition"
        yield warning("untrained", questions, message, remedy)


def _share(counts: Counts, answer: frozenset[str]) -> str:
    return f"{counts[answer] / counts.total():.0%}"
