"""Each question's answers as a distribution: how many values, which ones how often, against training and validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from imageclef_vqa.editions import QUESTIONS, QuestionVocabulary, as_set
from imageclef_vqa.statistics import holm
from imageclef_vqa.submission.chance import Counts, distance, furthest, homogeneity
from imageclef_vqa.submission.findings import Finding, Severity, finding
from imageclef_vqa.submission.records import Answers
from imageclef_vqa.submission.run import Run

_ARITY_RATIO = 1.5
_LONELY_FROM = 50  # labels; what stood alone in fewer may have company yet
_NEVER_FROM = 400  # labels of a question that takes a set; in fewer, large sets may be lacking by chance
_SEEN = 20  # labels of several values, or one; on fewer no question is judged
_SEVERAL = 1.5  # values that training gives on average to a question that asks for several
_CONSTANT_FROM = 10  # images; fewer can share an answer by chance
_BLIND_FROM = 20
_BROKEN_AT_MOST = 2  # questions
_USUAL = 0.95  # of the training labels: one answer throughout is then no surprise
_IMPOSSIBLE = 1e-6
_DRIFT = 0.001  # after correction for the number of questions
# A model prefers what is frequent, and test images may come from other batches: differences are told from these on.
_FAR_FROM_TRAINING, _FAR_FROM_VALIDATION = 0.25, 0.15


def check_arity(run: Run) -> Iterator[Finding]:
    """How many values an answer has, against training: the paper's entry lost 8 points by giving one always."""
    for question_id, pairs in run.by_question.items():
        entry = run.vocabulary[question_id]
        if not pairs or not entry.sets:
            continue
        total = sum(count for _, count in entry.sets)
        mine = sum(len(answers) for _, answers in pairs) / len(pairs)
        training = sum(len(members) * count for members, count in entry.sets) / total
        most = max(len(members) for members, _ in entry.sets)
        told = f"question {question_id}: you answer {mine:.1f} values on average, the training labels {training:.1f}"
        remedy = "answers are scored as whole sets; a policy of one answer cost the paper's entry 8 points"
        if _always_one(entry, [given for _, given in pairs]):
            places = [image_id for image_id, _ in pairs]
            yield finding("error", "arity", places, f"{told}, and never more than one", remedy)
        elif max(mine, training) >= _ARITY_RATIO * min(mine, training):
            yield finding("warning", "arity", [image_id for image_id, _ in pairs], told, remedy)
        yield from _too_many(question_id, pairs, most, total)
        yield from _strange_company(question_id, entry, pairs)


def _too_many(question_id: int, pairs: list[tuple[str, Answers]], most: int, labels: int) -> Iterator[Finding]:
    """Answers of several values where training has one, or of over twice as many as it ever has."""
    found = [f"{image_id}: {'; '.join(given)[:60]!r}" for image_id, given in pairs if len(given) > most == 1]
    if found:
        message = f"question {question_id}: {len(found)} of {len(pairs)} answers have several values, training has one"
        known = not QUESTIONS[question_id].takes_a_set or labels >= _NEVER_FROM
        remedy = "choose one: a set that training never has cannot match"
        yield finding("error" if known else "warning", "arity", found, message, remedy)
        return
    found = [f"{image_id}: {len(given)} values" for image_id, given in pairs if len(given) > 2 * most]
    if found and labels >= _NEVER_FROM:
        message = f"question {question_id}: {len(found)} of {len(pairs)} answers have over twice as many values as any"
        remedy = "answer with what is there, not with all that there might be"
        yield finding("error", "arity", found, f"{message} training label", remedy)


def _always_one(entry: QuestionVocabulary, answers: list[Answers]) -> bool:
    """Whether one value is always given where training mostly has several; "Not relevant" and its like say nothing."""
    alone = {member for member, others in entry.companions.items() if not others}
    asked = [(members, count) for members, count in entry.sets if alone.isdisjoint(members)]
    given = [members for members in answers if alone.isdisjoint(members)]
    total = sum(count for _, count in asked)
    if not given or total < _SEEN or max(map(len, given)) > 1:
        return False
    if sum(len(members) * count for members, count in asked) < _SEVERAL * total:
        return False
    single = (sum(count for members, count in asked if len(members) == 1) + 1) / (total + 2)
    return bool(single ** len(given) < _IMPOSSIBLE)


def _strange_company(
    question_id: int, entry: QuestionVocabulary, pairs: list[tuple[str, Answers]]
) -> Iterator[Finding]:
    companions = entry.companions if entry.takes_a_set else {}
    seen = Counter(member for members, count in entry.sets for member in members for _ in range(count))
    loners = {member for member, others in companions.items() if not others and seen[member] >= _LONELY_FROM}
    wrong = [
        f"{image_id}: {'; '.join(given)[:60]!r}" for image_id, given in pairs if len(given) > 1 and loners & set(given)
    ]
    if wrong:
        message = f"question {question_id}: {len(wrong)} sets hold an answer that stands alone in training"
        yield finding(
            "error", "company", wrong, message, f"{', '.join(map(repr, sorted(loners)))[:120]}: alone or not at all"
        )


def check_constant(run: Run) -> Iterator[Finding]:
    """Questions answered alike for all images, though training does not."""
    constant = [question_id for question_id, pairs in run.by_question.items() if len(answer_counts(pairs)) == 1]
    asked = [question_id for question_id, pairs in run.by_question.items() if pairs]
    images = len(run.by_image)
    if constant == asked and len(asked) > len(QUESTIONS) // 2 and images >= _BLIND_FROM:
        places = [f"question {q}: {'; '.join(run.by_question[q][0][1])[:60]!r}" for q in constant]
        message = f"every question is answered alike for all {images:,} images, as if nobody had looked at them"
        yield finding("error", "constant", places, message, "look whether predictions were mixed up with a default")
        return
    validation = _by_question(run)
    unusual = [q for q in constant if _is_unusual(run, q)]
    broken = [q for q in unusual if _is_broken(run, validation, q)]
    drifting = [q for q in asked if q not in constant and _against_validation(run, validation, q) < _DRIFT]
    # Test images of another kind move many questions, not one or two.
    another_kind = len(broken) > _BROKEN_AT_MOST or len(drifting) * 2 >= len(asked)
    for question_id in unusual:
        pairs, labels = run.by_question[question_id], training_counts(run, question_id)
        given = as_set(pairs[0][1])
        message = f"question {question_id}: all {len(pairs)} answers are {'; '.join(pairs[0][1])[:60]!r}"
        message += f", {_share(labels, given)} in training"
        if validation[question_id]:
            message += f", {_share(validation[question_id], given)} of the model's own to validation"
        severity: Severity = "error" if question_id in broken and not another_kind else "warning"
        remedy = "look whether the model learnt this question"
        yield finding(severity, "constant", [image_id for image_id, _ in pairs], message, remedy)


def _is_unusual(run: Run, question_id: int) -> bool:
    """Whether one answer for all images is a surprise, after what training answers."""
    labels = training_counts(run, question_id)
    if len(run.by_question[question_id]) < _CONSTANT_FROM or not labels:
        return False
    return max(labels.values()) < _USUAL * labels.total()


def _is_broken(run: Run, validation: dict[int, Counts], question_id: int) -> bool:
    """Whether it is more than a surprise: the same model's answers to validation images vary."""
    pairs, own = run.by_question[question_id], validation[question_id]
    if not own:
        return False
    given, labels = as_set(pairs[0][1]), training_counts(run, question_id)
    share = max(own[given] / own.total(), labels[given] / labels.total())
    return bool(share < _USUAL and share ** len(pairs) < _IMPOSSIBLE)


def check_drift(run: Run) -> Iterator[Finding]:
    """Questions whose answers are distributed otherwise than in training, or than the model's own on validation.

    Pearson's chi-square test with Holm's correction for the number of questions, where the distance is large, too:
    frames of one examination share their answers, so that small distances would look surer than they are.
    """
    validation = _by_question(run)
    by_training: dict[int, float] = {}
    by_validation: dict[int, float] = {}
    for question_id, pairs in run.by_question.items():
        mine, labels = answer_counts(pairs), training_counts(run, question_id)
        if len(mine) < 2 or not labels:
            continue
        by_training[question_id] = homogeneity(mine, labels)
        by_validation[question_id] = _against_validation(run, validation, question_id)
    training_p, validation_p = holm(by_training), holm(by_validation)
    for question_id in by_training:
        mine, labels = answer_counts(run.by_question[question_id]), training_counts(run, question_id)
        own = validation[question_id]
        told = [
            (name, other, p)
            for name, other, p, far in (
                ("the training labels", labels, training_p[question_id], _FAR_FROM_TRAINING),
                ("the model's own to validation", own, validation_p[question_id], _FAR_FROM_VALIDATION),
            )
            if p < _DRIFT and distance(mine, other) >= far
        ]
        if not told:
            continue
        name, other, p = told[-1]
        changed = [
            f"{'; '.join(sorted(answer))[:60]!r} {_share(mine, answer)}, not {_share(other, answer)}"
            for answer in furthest(mine, other)[:3]
        ]
        message = f"question {question_id}: answers are distributed otherwise than {name} (p {_rounded(p)})"
        yield finding(
            "warning", "drift", changed, message, "look whether the test images differ, or the answers slipped"
        )


def check_untrained(run: Run) -> Iterator[Finding]:
    """Questions that training never answers; where nothing is known of training, nothing is said of it."""
    untrained = run.vocabulary.untrained
    if untrained and len(untrained) < len(QUESTIONS):
        questions = [f"{question_id}: {QUESTIONS[question_id].text}" for question_id in untrained]
        message = f"training never answers {len(questions)} of the {len(QUESTIONS)} questions"
        remedy = "what is given is a guess from the values known of the competition"
        yield finding("warning", "untrained", questions, message, remedy)


def answer_counts(pairs: Iterable[tuple[str, Answers]]) -> Counts:
    """How often each set is given, of (image id, answer)."""
    counts: Counts = Counter()
    for given, count in Counter(given for _, given in pairs).items():  # as tuples first: few differ
        counts[as_set(given)] += count
    return counts


def training_counts(run: Run, question_id: int) -> Counts:
    """How often the training labels hold each set."""
    return Counter({frozenset(members): count for members, count in run.vocabulary[question_id].sets})


def _by_question(run: Run) -> dict[int, Counts]:
    validation: dict[int, Counts] = {question.id: Counter() for question in QUESTIONS}
    for (_, question_id), given in run.validation.items():
        validation[question_id][as_set(given)] += 1
    return validation


def _against_validation(run: Run, validation: dict[int, Counts], question_id: int) -> float:
    return homogeneity(answer_counts(run.by_question[question_id]), validation[question_id])


def _share(counts: Counts, answer: frozenset[str]) -> str:
    return f"{counts[answer] / counts.total():.0%}"


def _rounded(p: float) -> str:
    return f"= {p:.0e}" if p > 1e-12 else "< 1e-12"
