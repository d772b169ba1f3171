"""Two questions whose answers changed places: each is answered as training answers the other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from imageclef_vqa.submission.chance import distance
from imageclef_vqa.submission.distributions import answer_counts, training_counts
from imageclef_vqa.submission.findings import Finding, finding
from imageclef_vqa.submission.run import Run

_FEWEST = 20  # answers, given and in training
_FAR = 0.25  # from the question's own labels; images of another kind move one of two questions so, hardly ever both


def check_swaps(run: Run) -> Iterator[Finding]:
    """Pairs of questions that both lie far from their own labels and at most half as far from each other's."""
    given = {question_id: answer_counts(pairs) for question_id, pairs in run.by_question.items()}
    labels = {question_id: training_counts(run, question_id) for question_id in given}
    asked = [q for q in given if min(given[q].total(), labels[q].total()) >= _FEWEST]
    own = {q: distance(given[q], labels[q]) for q in asked}
    for one, other in combinations([q for q in asked if own[q] >= _FAR], 2):
        if all(distance(given[a], labels[b]) <= own[a] / 2 for a, b in ((one, other), (other, one))):
            message = f"questions {one} and {other}: each is answered as training answers the other"
            remedy = "look whether their answers, or their numbers, were exchanged"
            yield finding("error", "swapped", [f"question {one}", f"question {other}"], message, remedy)
