"""Mirrored views of images for the classical expert: what is true of them, and answers averaged over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imageclef_vqa.data.augmentation import View
from imageclef_vqa.editions import QUESTIONS, Candidate, Vocabulary
from imageclef_vqa.editions.rankings import pool
from imageclef_vqa.editions.vocabulary import QuestionVocabulary

Candidates = tuple[Candidate, ...]


def answers_in(view: View, answers: Mapping[int, Sequence[str]]) -> dict[int, tuple[str, ...]]:
    """The answers, by question id, that are true of a view; without those whose location has no name in the bank."""
    found = {}
    for question, given in answers.items():
        try:
            found[question] = view.answers(question, given, QUESTIONS[question].known)
        except KeyError:
            continue
    return found


def mean_over_views(
    vocabulary: Vocabulary, views: Sequence[View], of_views: Sequence[Mapping[int, Sequence[Candidates]]], count: int
) -> Mapping[int, Sequence[Candidates]]:
    """The `count` likeliest answers [image] to each question by the mean over `views`; `of_views` has those to each."""
    if len(views) == 1:
        return of_views[0]
    return {
        question: [
            _mean(vocabulary[question], views, rankings)[:count]
            for rankings in zip(*(ranked[question] for ranked in of_views), strict=True)
        ]
        for question in of_views[0]
    }


def _mean(entry: QuestionVocabulary, views: Sequence[View], rankings: Sequence[Candidates]) -> Candidates:
    """The mean of the answers to the views of one image, as answers to the image."""
    lists = []
    for view, ranking in zip(views, rankings, strict=True):
        back = [answers_in(view, {entry.question_id: each.answers}).get(entry.question_id) for each in ranking]
        lists.append([(answers, each.probability) for answers, each in zip(back, ranking, strict=True) if answers])
    pooled = pool(lists, [1 / len(lists)] * len(lists))
    return tuple(Candidate(answers=entry.canonical(answers), probability=min(1.0, p)) for answers, p in pooled)
