"""Records of predictions, from ranked answers, from free text, or from the training labels."""

from __future__ import annotations

from collections.abc import Sequence

from imageclef_vqa.editions import Candidate, Prediction, Vocabulary
from imageclef_vqa.inference.choice import Chosen
from imageclef_vqa.inference.ranked import Answers, Ranked, members
from imageclef_vqa.inference.replies import Reply

_CANDIDATES = 5
PRIOR = "training prior"
CONSISTENCY = "a rule between questions, learnt from the training labels"


def from_ranked(
    image_id: str,
    ranked: Sequence[Ranked],
    likely: Sequence[Answers],
    given: Sequence[Answers],
    vocabulary: Vocabulary,
    model: str,
) -> list[Prediction]:
    """One record per question with the answers `given`; `likely` are those before consistency rules were applied."""
    return [
        Prediction(
            image_id=image_id,
            question_id=question,
            answers=given[question],
            probability=dict(each)[given[question]],
            candidates=_candidates(each),
            members=_members(each) if vocabulary[question].takes_a_set else {},
            model=model,
            trained=vocabulary[question].trained,
            replaced=None if given[question] == likely[question] else likely[question],
            reason=None if given[question] == likely[question] else CONSISTENCY,
        )
        for question, each in enumerate(ranked)
    ]


def from_reply(image_id: str, reply: Reply) -> Prediction:
    """The record of a reply, with as many candidates as predictions have."""
    return Prediction(
        image_id=image_id,
        question_id=reply.question.id,
        answers=reply.answers,
        probability=min(1.0, reply.probability),
        candidates=_candidates(reply.ranked),
        members=reply.members,
        model=reply.model,
        trained=reply.trained,
    )


def from_sentences(image_id: str, row: int, question: str, ranked: Ranked, chosen: Chosen, model: str) -> Prediction:
    """The record of the answer to an open question, with the likeliest sentences and the expected METEOR."""
    return Prediction(
        image_id=image_id,
        question=question,
        question_id=row,
        answers=(chosen.text,),
        probability=min(1.0, chosen.probability),
        candidates=_candidates(ranked),
        meteor=chosen.meteor,
        model=model,
    )


def from_free_text(image_id: str, texts: Sequence[Ranked], vocabulary: Vocabulary, model: str) -> list[Prediction]:
    """One record per question with the model's free text, which may be outside the vocabulary."""
    return [
        Prediction(
            image_id=image_id,
            question_id=question,
            answers=answers,
            probability=probability,
            model=f"{model}, free",
            trained=vocabulary[question].trained,
        )
        for question, ((answers, probability), *_) in enumerate(texts)
    ]


def from_prior(image_id: str, vocabulary: Vocabulary) -> list[Prediction]:
    """One record per question for an image that cannot be read: the answers of the training labels by frequency."""
    records = []
    for entry in vocabulary.questions:
        total = sum(count for _, count in entry.sets)
        ranked = tuple((answers, count / total) for answers, count in entry.sets) or ((entry.majority, 0.0),)
        records.append(
            Prediction(
                image_id=image_id,
                question_id=entry.question_id,
                answers=entry.majority,
                probability=ranked[0][1],
                candidates=_candidates(ranked),
                members=_members(ranked) if entry.takes_a_set else {},
                model=PRIOR,
                trained=entry.trained,
                prior=True,
            )
        )
    return records


def _candidates(ranked: Ranked) -> tuple[Candidate, ...]:
    return tuple(Candidate(answers=answers, probability=min(1.0, p)) for answers, p in ranked[:_CANDIDATES])


def _members(ranked: Ranked) -> dict[str, float]:
    return {member: round(probability, 6) for member, probability in members(ranked).items()}
